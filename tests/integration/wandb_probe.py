"""Prints what an offline file of Weights & Biases holds, as its server would read it: the run's ID and configuration, and
{metric: [[step, value], ...]}.

The file is a log of LevelDB's form (https://github.com/google/leveldb/blob/main/doc/log_format.md) behind a header of
seven bytes, of records in the library's own Protocol Buffers.
"""

from __future__ import annotations

import json
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK_BYTES = 32 * 1024
HEADER = struct.Struct("<IHB")
BEGINS_WITH = 7
WHOLE, LAST = 1, 4


def records(content: bytes) -> Iterator[Any]:
    """Yield the records, put together from their parts."""
    place, parts = BEGINS_WITH, b""
    while place + HEADER.size <= len(content):
        left = BLOCK_BYTES - place % BLOCK_BYTES
        if left < HEADER.size:
            place += left
            continue
        _, length, kind = HEADER.unpack_from(content, place)
        place += HEADER.size
        parts += content[place : place + length]
        place += length
        if kind in (WHOLE, LAST):
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


found: dict[str, Any] = {"metrics": defaultdict(list)}
for one in records(Path(sys.argv[1]).read_bytes()):
    if one.HasField("run"):
        found["id"], found["project"] = one.run.run_id, one.run.project
        found["config"] = {item.key: json.loads(item.value_json) for item in one.run.config.update}
    if one.HasField("history"):
        row = {item.nested_key[0] or item.key: json.loads(item.value_json) for item in one.history.item}
        for name, value in row.items():
            if not name.startswith("_") and name != "step":
                found["metrics"][name].append([row["step"], value])
    if one.HasField("exit"):
        found["exitCode"] = one.exit.exit_code
print(json.dumps(found))
