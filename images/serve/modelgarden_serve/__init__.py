"""The serving image: `fetch` brings a model to the local disk, `serve` runs vLLM on it.

Imports `modelgarden.api` and `modelgarden_pod`, nothing else of the operator.
"""
