"""The images of a dataset: fetched from beside the rows' files, looked at, and kept by their SHA-256."""
