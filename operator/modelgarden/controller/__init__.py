"""How any kind is reconciled: the plan of one reconcile, and the only code that carries it out."""
