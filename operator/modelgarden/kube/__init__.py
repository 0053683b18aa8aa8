"""The Kubernetes API as dicts. The only package that imports the kubernetes client."""
