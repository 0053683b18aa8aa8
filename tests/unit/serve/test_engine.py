"""vLLM's command line and environment."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from modelgarden.api.pods import ServeConfig
from modelgarden_pod.errors import UserError
from modelgarden_serve.engine import (
    GIB,
    Build,
    cache_bytes,
    command,
    environment,
    failure_of,
    weights_bytes,
)


def config(*engine_args: str, gpus: int = 0) -> ServeConfig:
    return ServeConfig(
        model_uri="s3://models/run/manifest.json",
        served_model_name="bot",
        model_dir="/workspace/model",
        engine_args=engine_args,
        drain_seconds=45,
        gpus=gpus,
    )


@pytest.mark.parametrize(("ipv6", "host"), [(True, ["--host=::"]), (False, [])], ids=["IPv6", "IPv4 alone"])
def test_the_command_on_a_gpu(ipv6: bool, host: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: ipv6)
    assert command(config("--max-model-len=4096", gpus=1), build="cuda", memory=64 * GIB) == [
        "vllm",
        "serve",
        "/workspace/model",
        "--served-model-name=bot",
        "--port=8000",
        "--shutdown-timeout=45",
        "--disable-access-log-for-endpoints=/health,/metrics,/v1/models,/modelgarden/under-way",
        "--middleware=modelgarden_serve.draining.DrainMiddleware",
        *host,
        "--max-model-len=4096",
    ]


def test_the_cpu_build_gets_a_bounded_cache_and_no_compilation() -> None:
    words = command(config(), build="cpu", memory=8 * GIB)

    assert "--enforce-eager" in words
    assert f"--kv-cache-memory-bytes={5 * GIB // 2}" in words


@pytest.mark.parametrize(
    ("given", "absent"),
    [
        ("--kv-cache-memory-bytes=1000000000", "--kv-cache-memory-bytes=2684354560"),
        ("--gpu-memory-utilization=0.5", "--kv-cache-memory-bytes=2684354560"),
        ("--no-enforce-eager", "--enforce-eager"),
    ],
)
def test_what_the_user_gives_stands(given: str, absent: str) -> None:
    words = command(config(given), build="cpu", memory=8 * GIB)

    assert given in words
    assert absent not in words


def test_the_users_arguments_come_last_so_they_win() -> None:
    assert command(config("--seed=1"), build="cpu", memory=GIB)[-1] == "--seed=1"


@pytest.mark.parametrize(
    ("memory", "weights", "want"),
    [
        pytest.param(2 * GIB, 0, GIB // 4, id="never less than a quarter of a GiB"),
        pytest.param(11 * GIB, 2 * GIB, 3 * GIB, id="half of what is left"),
        pytest.param(512 * GIB, 2 * GIB, 32 * GIB, id="never more than 32 GiB"),
    ],
)
def test_cache_bytes(memory: int, weights: int, want: int) -> None:
    assert cache_bytes(memory, weights) == want


SHARDS = {"model-00001-of-00002.safetensors": 30, "model-00002-of-00002.safetensors": 12}
INDEX = json.dumps({"weight_map": dict(zip("abc", [*SHARDS, *SHARDS], strict=False))})


@pytest.mark.parametrize(
    ("files", "index", "want"),
    [
        pytest.param({"model.safetensors": 42}, None, 42, id="one file"),
        pytest.param(SHARDS, INDEX, 42, id="shards"),
        pytest.param(
            {**SHARDS, "model.safetensors": 42}, INDEX, 42, id="a file beside them, not in the index"
        ),
        pytest.param({**SHARDS, "consolidated.safetensors": 43}, INDEX, 43, id="Mistral's file beside them"),
        pytest.param(
            {"model.safetensors": 42, "consolidated.safetensors": 43}, None, 43, id="beside one file"
        ),
        pytest.param(SHARDS, "cut of", 42, id="an index that cannot be read"),
        pytest.param(SHARDS, "{}", 42, id="an index without files"),
        pytest.param({}, None, 0, id="none"),
    ],
)
def test_weights_that_lie_there_twice_count_once(
    files: Mapping[str, int], index: str | None, want: int, tmp_path: Path
) -> None:
    for name, size in files.items():
        (tmp_path / name).write_bytes(b"x" * size)
    if index is not None:
        (tmp_path / "model.safetensors.index.json").write_text(index)

    assert weights_bytes(tmp_path) == want


@pytest.mark.parametrize(
    ("build", "gpus", "says"),
    [("cpu", 1, "set resources.gpus to 0"), ("cuda", 0, "set resources.gpus to at least 1")],
)
def test_a_build_that_does_not_fit_the_pod_is_the_users_error(build: Build, gpus: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        command(config(gpus=gpus), build=build, memory=GIB)


def test_the_environment_tells_nobody_and_writes_nothing_outside_the_workspace(tmp_path: Path) -> None:
    variables = environment(tmp_path, build="cuda", base={"PATH": "/bin"})

    assert variables["VLLM_NO_USAGE_STATS"] == variables["DO_NOT_TRACK"] == variables["HF_HUB_OFFLINE"] == "1"
    folders = {name: value for name, value in variables.items() if value.startswith("/") and name != "PATH"}
    assert {"HOME", "XDG_CACHE_HOME", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR"} <= set(folders)
    assert all(Path(value).is_relative_to(tmp_path) and Path(value).is_dir() for value in folders.values())


@pytest.mark.parametrize(
    ("lines", "want"),
    [
        pytest.param(
            [
                "INFO 11-21 08:00:00 [x.py:1] starting",
                "(APIServer pid=7) ERROR 11-21 08:00:00 [core.py:12] ValueError: max_model_len is too large",
                "(APIServer pid=7) INFO 11-21 08:00:01 [x.py:2] shutting down",
            ],
            "ValueError: max_model_len is too large",
            id="the error of a worker",
        ),
        pytest.param(
            ["usage: vllm serve [-h]", "vllm serve: error: unrecognized arguments: --no-such"],
            "vllm serve: error: unrecognized arguments: --no-such",
            id="an argument",
        ),
        pytest.param(["loading", "Killed", ""], "Killed", id="the last line where no error is named"),
        pytest.param([], "it said nothing", id="nothing"),
    ],
)
def test_failure_of(lines: list[str], want: str) -> None:
    assert failure_of(lines) == want
