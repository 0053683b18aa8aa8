"""Type Python: what a function of the user's file says of all completions at once."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.judge.errors import RewardError

_MODULE: Final = "reward"
_LONGEST: Final = 500
"""Characters of what an exception says."""
_LONGEST_SHOWN: Final = 100


class FunctionJudge:
    """Calls a function as TRL calls those of its GRPOTrainer."""

    def __init__(self, file: Path, *, name: str, function: str) -> None:
        """Run the file, which is called by this name in what is told of it, and find the function.

        Raises:
            RewardError: it is no Python, raises, or has no such function.
        """
        self._name = name
        self._function = _function(_loaded(file, name), function)
        _check_keywords(self._function, function)

    def __call__(self, completions: Sequence[Completion]) -> list[float | None]:
        """Return the worth of each completion, None for one that is not judged.

        Raises:
            RewardError: the function raises, or returns anything but as many numbers.
        """
        try:
            returned = self._function(
                prompts=[completion.prompt for completion in completions],
                completions=[completion.text for completion in completions],
                completion_ids=[list(completion.ids) for completion in completions],
                answer=[completion.answer for completion in completions],
            )
            if not isinstance(returned, Iterable):
                raise RewardError(f"the function returned {_shown(returned)}, which is no list")
            values = list(returned)
        except RewardError:
            raise
        except BaseException as error:
            raise RewardError(_told(error, self._name)) from error
        if len(values) != len(completions):
            raise RewardError(
                f"the function returned {len(values)} values for {len(completions)} completions"
            )
        return [_number(value, place) for place, value in enumerate(values)]


def _loaded(file: Path, name: str) -> ModuleType:
    module = ModuleType(_MODULE)
    module.__file__ = str(file)
    sys.modules[_MODULE] = module  # as dataclasses and pickle look it up
    try:
        code = compile(file.read_bytes(), name, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 -- what this process is for
    except BaseException as error:
        raise RewardError(_told(error, name)) from error
    return module


def _function(module: ModuleType, name: str) -> Callable[..., Any]:
    found: object = getattr(module, name, None)
    if not callable(found):
        raise RewardError(f"the file has no function {name}")
    return found


def _check_keywords(function: Callable[..., Any], name: str) -> None:
    try:
        inspect.signature(function).bind(
            prompts=[], completions=[], completion_ids=[], answer=[], **{"and what may come": []}
        )
    except TypeError as error:
        wanted = f"{name}(prompts, completions, completion_ids, answer, **kwargs)"
        raise RewardError(f"the function does not take what it is called with: write {wanted}") from error
    except ValueError:  # built in, and says nothing of its parameters
        return


def _told(error: BaseException, name: str) -> str:
    """Return what was raised, and in which line of the file."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 -- an exception of the user's own
        said = ""
    if isinstance(error, SyntaxError) and error.filename == name:
        line, said = error.lineno, error.msg
    else:
        lines = [
            at for frame, at in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == name
        ]
        line = lines[-1] if lines else None
    if isinstance(error, MemoryError):
        said = "memoryMebibytes is used up; take less, or raise it"
    kind = type(error).__name__
    where = f"{name}, line {line}: " if line is not None else f"{name}: "
    return where + (f"{kind}: {said[:_LONGEST]}" if said else kind)


def _number(value: Any, place: int) -> float | None:
    if value is None:
        return None
    wrong = f"the function returned {_shown(value)} for completion {place}, which is no"
    if isinstance(value, str | bytes) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise RewardError(f"{wrong} number")
    try:
        number = float(value)
    except Exception as error:
        raise RewardError(f"{wrong} number") from error
    if number - number != 0:
        raise RewardError(f"{wrong} finite number")
    return number


def _shown(value: object) -> str:
    try:
        return repr(value)[:_LONGEST_SHOWN]
    except Exception:  # noqa: BLE001 -- a value of the user's own
        return type(value).__name__
