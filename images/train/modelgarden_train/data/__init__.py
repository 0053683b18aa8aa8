"""The dataset: where it lies, what its rows are, and how they become what the model sees."""
