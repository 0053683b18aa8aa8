"""The objects that carry out a FineTuneJob, a module for each step and for what their Jobs share. Pure."""
