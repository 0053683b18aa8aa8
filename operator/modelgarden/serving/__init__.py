"""ModelDeployment: resolve what to serve, roll it out with vLLM, account for its energy."""
