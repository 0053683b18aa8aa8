"""The pods of a training on several nodes, as their supervisors see each other."""
