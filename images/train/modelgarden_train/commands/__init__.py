"""The commands of the trainer, one module each: what `python -m modelgarden_train COMMAND` does."""
