"""ModelDeployment: resolve what to serve, roll it out with vLLM, account for its energy."""

from modelgarden.serving.resolve import references

__all__ = ["references"]
