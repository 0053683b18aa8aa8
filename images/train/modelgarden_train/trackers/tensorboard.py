"""TensorBoard: event files on this machine, copied into the run's folder in storage as they grow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelgarden_pod.folder import Folder
from modelgarden_train.trackers.tracker import Ended

PATIENCE_SECONDS = 15.0
"""Short: what cannot be copied now is copied with the next checkpoint, or told at the end."""


class TensorBoardFiles:
    """Writes one event file an attempt; TensorBoard reads the files of a folder as one run."""

    name = "TensorBoard"

    def __init__(self, local: Path, folder: Folder) -> None:
        self._local = local
        self._folder = folder.with_patience(PATIENCE_SECONDS)
        self._writer: Any = None

    @property
    def url(self) -> str:
        """The folder with the files of all attempts."""
        return self._folder.uri

    def start(self, hyperparameters: Mapping[str, str], *, from_step: int) -> None:
        """Open this attempt's file; of earlier ones TensorBoard then leaves out the steps that are done again."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(self._local))
        if from_step:
            restarted = SessionLog(status=SessionLog.START)
            self._writer.add_event(Event(wall_time=time.time(), step=from_step + 1, session_log=restarted))
        self._write(from_step, [_table("hyperparameters", hyperparameters)])

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics as scalars."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._write(step, [Summary.Value(tag=tag, simple_value=value) for tag, value in metrics.items()])

    def keep(self) -> None:
        """Copy this attempt's file to storage.

        Raises:
            TemporaryError: storage does not answer.
            UserError: storage refuses it.
        """
        self._writer.flush()
        for file in sorted(self._local.iterdir()):
            self._folder.upload(file, file.name)

    def finish(self, ended: Ended) -> None:
        """Copy the whole file to storage.

        Raises:
            TemporaryError: storage does not answer.
            UserError: storage refuses it.
        """
        self.keep()

    def _write(self, step: int, values: list[Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))


def _table(tag: str, rows: Mapping[str, str]) -> Any:
    """Return a Markdown table as TensorBoard's text plugin shows it."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

    lines = ["|name|value|", "|-|-|", *(f"|{name}|{value}|" for name, value in sorted(rows.items()))]
    text = TensorProto(
        dtype="DT_STRING",
        string_val=["\n".join(lines).encode()],
        tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
    )
    plugin = SummaryMetadata.PluginData(plugin_name="text")
    return Summary.Value(tag=f"{tag}/text_summary", metadata=SummaryMetadata(plugin_data=plugin), tensor=text)
