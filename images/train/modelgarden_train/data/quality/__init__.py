"""What is looked for in the rows of a dataset, and what becomes of those in which it is found."""
