"""Rewards that are judged in a process of their own: whose fault it is when that goes wrong, and what becomes of it.

A stranger's text must not end a training, so a completion that a built-in reward cannot cope with is worth 0 and the process
is started anew. The user's own function is believed in all, so what goes wrong in it ends the training with a message.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from modelgarden.api.finetunejob.rewards import PythonReward, Reward
from modelgarden_pod.errors import UserError
from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.judge_process import Died, Hung, JudgeProcess

logger = logging.getLogger(__name__)

LOADING_SECONDS: Final = 60.0
"""Until a process must be ready: its Python's imports, from a disk that may be slow, and those of the user's file."""
JUDGING_SECONDS: Final = 1.0
"""For a completion of the types Regex and JSONSchema."""
GRACE_SECONDS: Final = 10.0
"""Beyond its time, after which a built-in reward that cannot end itself is ended."""
_QUERIES: Final = 2
"""That a completion of the type SQL takes: its own and the answer's."""
_MEBIBYTE: Final = 1024**2
_BUILT_IN_MEBIBYTES: Final = 512
_LONGEST_QUESTION: Final = 200
_LONGEST_MESSAGE: Final = 1000
_CORRECTED: Final[Mapping[str, str]] = {
    "Regex": "regex.pattern",
    "JSONSchema": "jsonSchema.document",
    "SQL": "sql.database",
    "Python": "the file",
}
"""Where a person sets right what is wrong, by the reward's type."""


class _Process:
    """The process of a reward, and the message for what is wrong with it."""

    def __init__(self, label: str, order: Mapping[str, Any]) -> None:
        self.label = label
        self._order = order
        self._where = _CORRECTED[order["type"]]
        self._process = JudgeProcess(label, order)

    def wait(self) -> None:
        """Wait until it is ready.

        Raises:
            UserError: RewardFailed, it cannot judge.
        """
        try:
            ready = self._process.hear(seconds=LOADING_SECONDS)
        except Hung:
            self.fail(f"it was not ready within {LOADING_SECONDS:g} s; correct {self._where}")
        except Died as error:
            self.fail(f"{error}, before it was ready; correct {self._where}")
        if unable := ready.get("node"):
            self.fail(f"{unable}; train on nodes whose kernel has seccomp")
        self._fail_if_wrong(ready)
        if not ready.get("files"):
            logger.warning("This node's kernel has no Landlock; a reward may read files of the pod")

    def ask(self, completions: Sequence[Completion], *, seconds: float) -> list[float | None]:
        """Return what completions are worth.

        Raises:
            Hung, Died: it does not say.
            UserError: RewardFailed, DatasetInvalid, as it says itself.
        """
        said = self._process.ask(completions, seconds=seconds)
        self._fail_if_wrong(said)
        if about := said.get("answer"):
            raise self.answer_error(completions[0], about)
        values = said.get("values")
        if not isinstance(values, list) or len(values) != len(completions) or not all(map(_is_worth, values)):
            raise Died("it says what is no answer")
        return values

    def start_anew(self) -> None:
        """End the process and start another.

        Raises:
            UserError: RewardFailed, it does not come up again.
        """
        self.close()
        self._process = JudgeProcess(self.label, self._order)
        self.wait()

    def fail(self, how: str) -> NoReturn:
        """Raise what the user is told."""
        raise UserError("RewardFailed", f"{self.label}: {how[:_LONGEST_MESSAGE]}")

    def answer_error(self, completion: Completion, what: str) -> UserError:
        """Return what the user is told of a row's answer."""
        question = completion.prompt[:_LONGEST_QUESTION]
        return UserError(
            "DatasetInvalid",
            f"{self.label}: the answer to '{question}' {what}; correct the row, or the reward's database",
        )

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _fail_if_wrong(self, said: Mapping[str, Any]) -> None:
        if wrong := said.get("wrong"):
            self.fail(f"{wrong}; correct {self._where}")


class BuiltInReward:
    """A reward of ours, which judges one completion after the other."""

    def __init__(self, label: str, reward: Reward, file: Path | None) -> None:
        self.reads_answers = reward.type == "SQL"
        seconds = float(reward.sql.timeout_seconds) if reward.sql else JUDGING_SECONDS
        self._allowed = seconds * (_QUERIES if self.reads_answers else 1) + GRACE_SECONDS
        settings: dict[str, Any] = {"seconds": seconds}
        if reward.regex:
            settings["pattern"] = reward.regex.pattern
        if reward.json_schema:
            settings["document"] = reward.json_schema.document
        self._process = _Process(label, _order(reward, settings, file, mebibytes=_BUILT_IN_MEBIBYTES))

    def wait(self) -> None:
        """Wait until it can judge; raises as `_Process.wait`."""
        self._process.wait()

    def score(self, completions: Sequence[Completion]) -> tuple[float | None, ...]:
        """Return what completions are worth; 0 for one that the process does not survive.

        Raises:
            UserError: DatasetInvalid, an answer of type SQL is no query that works.
        """
        return tuple(self._worth(completion) for completion in completions)

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _worth(self, completion: Completion) -> float | None:
        try:
            return self._process.ask([completion], seconds=self._allowed)[0]
        except (Hung, Died) as error:
            if self.reads_answers and completion.text == completion.answer:
                raise self._process.answer_error(
                    completion, "is no query that can be run to its end"
                ) from error
            logger.warning(
                "A completion was too much for a reward, and is worth 0",
                extra={"reward": self._process.label, "error": str(error) or "it took too long"},
            )
            self._process.start_anew()
            return 0.0


class FunctionReward:
    """A function of the user's, which judges all completions at once."""

    reads_answers = False

    def __init__(self, label: str, reward: Reward, python: PythonReward, file: Path) -> None:
        self._seconds = python.timeout_seconds
        settings = {"name": python.source, "function": python.function}
        self._process = _Process(label, _order(reward, settings, file, mebibytes=python.memory_mebibytes))
        self._memory = python.memory_mebibytes

    def wait(self) -> None:
        """Wait until it can judge; raises as `_Process.wait`."""
        self._process.wait()

    def score(self, completions: Sequence[Completion]) -> tuple[float | None, ...]:
        """Return what the function says of completions.

        Raises:
            UserError: RewardFailed, it says nothing that can be used.
        """
        try:
            return tuple(self._process.ask(completions, seconds=self._seconds))
        except Hung:
            self._process.fail(
                f"the function took longer than {self._seconds} s for {len(completions)} completions; make it faster, or "
                "raise timeoutSeconds"
            )
        except Died as error:
            self._process.fail(f"{error}, while the function ran; correct the file")

    def close(self) -> None:
        """End the process."""
        self._process.close()


def _order(
    reward: Reward, settings: Mapping[str, Any], file: Path | None, *, mebibytes: int
) -> dict[str, Any]:
    return {
        "type": reward.type,
        "settings": settings,
        "file": str(file.absolute()) if file else None,
        "memory": mebibytes * _MEBIBYTE,
    }


def _is_worth(value: object) -> bool:
    return value is None or (isinstance(value, float | int) and math.isfinite(value))
