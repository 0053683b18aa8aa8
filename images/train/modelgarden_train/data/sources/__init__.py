"""Where a dataset lies: brings the files of its sources to this machine, whatever place they come from."""
