"""What a person has to correct. Whatever a completion is, it is worth something and never an error."""

from __future__ import annotations


class RewardError(Exception):
    """The reward cannot judge: its file, pattern, schema or database is wrong."""


class NodeError(Exception):
    """This node's kernel cannot shut a process off."""


class AnswerError(Exception):
    """A row's answer is nothing that completions can be compared with."""
