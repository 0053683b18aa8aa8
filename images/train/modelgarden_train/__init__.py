"""The trainer: prepare a dataset, fine-tune a base model with Unsloth, evaluate, export and publish.

Runs as the pods of a FineTuneJob, and without Kubernetes on local files.
"""
