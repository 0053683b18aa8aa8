"""The base model: its files, the libraries that load it, and the environment that they need."""
