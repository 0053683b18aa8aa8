"""What the pods of both images share: storage, energy metering, logs, HTTP endpoints and the way they end.

Imports `modelgarden.api` and nothing else of the operator.
"""
