"""The merge on the CPU: the task of the other process, and its end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelgarden_pod.errors import PodError
from modelgarden_train.artifact.merge import MergeTask, merge_on_cpu
from modelgarden_train.data.prepared import PreparedRow


def test_a_task_reaches_the_other_process_as_it_was() -> None:
    row = PreparedRow(input_ids=[5, 6, 7, 8], spans=((1, 2), (3, 4)), question="q", answer="a")
    task = MergeTask(
        base=Path("/model"),
        adapter=Path("/adapter"),
        target=Path("/merged"),
        stop_tokens=(4,),
        chat_template="{{ messages }}",
        rows=(row,),
    )

    assert MergeTask.from_json(task.to_json()) == task


@pytest.mark.parametrize(
    ("command", "want_reason", "want_exit_code"),
    [
        pytest.param("exit 1", "TrainingFailed", 1, id="it fails"),
        pytest.param("kill -KILL $$", "OutOfMemory", 64, id="the kernel kills it"),
    ],
)
def test_a_merge_that_fails_says_so(
    command: str, want_reason: str, want_exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{command}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    (tmp_path / "adapter").mkdir()
    task = MergeTask(
        base=tmp_path / "base",
        adapter=tmp_path / "adapter",
        target=tmp_path / "merged",
        stop_tokens=(),
        chat_template=None,
        rows=(),
    )

    with pytest.raises(PodError) as raised:
        merge_on_cpu(task)

    assert (raised.value.reason, raised.value.exit_code) == (want_reason, want_exit_code)
