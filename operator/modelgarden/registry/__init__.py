"""Artifacts in S3: objects, the inputs of a run, and the versions of a model's registry."""
