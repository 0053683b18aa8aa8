"""One attempt at a run: its configuration, progress, checkpoints, energy and end."""
