"""The process that judges completions by one reward: shut off from all else, and told over a socket what to judge.

Nothing here imports pydantic or PyTorch, so that it starts in a fraction of a second and is small.
"""
