"""Several processes that train one model: what each takes of a step's rows, and how they come to one result."""
