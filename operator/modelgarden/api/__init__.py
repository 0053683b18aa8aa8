"""The API: one source for the CRDs, for what the pods read and write, and for the documentation.

Imports pydantic and the standard library only, because the operator and both images import it.
"""
