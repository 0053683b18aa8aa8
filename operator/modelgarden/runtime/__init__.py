"""How the operator runs: watches, queue, workers, resync, Lease, health, metrics. Only here is kopf."""
