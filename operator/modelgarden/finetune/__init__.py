"""FineTuneJob: what is observed, what is planned from it, and the objects that carry it out."""
