"""Held-out scores of a model."""
