"""What a training will take of a GPU, told by prepare before one is asked for."""
