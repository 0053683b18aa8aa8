"""Environment variables of the libraries. Set before any of them is imported; imports none of them.

The root file system is read-only and telemetry stays off: every cache goes to the workspace.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from modelgarden.api.names import WITHOUT_GPUS_VARIABLE
from modelgarden.api.pods import RunConfig

WORKSPACE_VARIABLE = "MODELGARDEN_WORKSPACE"
"""Folder for caches, models and checkpoints. Default: /workspace in a pod, else a temporary folder."""
_POD_WORKSPACE = Path("/workspace")

_QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "UNSLOTH_ENABLE_LOGGING": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TQDM_DISABLE": "1",
    "WANDB_DISABLED": "true",
}
_PLAIN_HTTP = {"HF_HUB_DISABLE_XET": "1"}
"""The hub's other protocol has time limits of its own and tells of an outage by a bare RuntimeError."""
_CACHES = {
    "HOME": "home",
    "XDG_CACHE_HOME": "cache",
    "HF_HOME": "huggingface",
    "UNSLOTH_COMPILE_LOCATION": "unsloth_compiled_cache",
    "UNSLOTH_MEGA_CACHE_DIR": "unsloth_mega_cache",
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "CUDA_CACHE_PATH": "cuda",
    "MPLCONFIGDIR": "matplotlib",
}


def workspace_folder() -> Path:
    """Return the folder to work in; a temporary one goes when the process ends."""
    if given := os.environ.get(WORKSPACE_VARIABLE):
        path = Path(given).absolute()
        path.mkdir(parents=True, exist_ok=True)
        return path
    if os.access(_POD_WORKSPACE, os.W_OK):
        return _POD_WORKSPACE
    path = Path(tempfile.mkdtemp(prefix="modelgarden-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@contextmanager
def without_torch() -> Iterator[None]:
    """Have Transformers find no PyTorch, which no tokenizer needs: five seconds and 640 MiB less.

    It looks once. Afterwards others may look again: SciPy takes a module that is barred for one that is there.
    """
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # each import of it fails
    try:
        yield
    finally:
        del sys.modules["torch"]


def prepare_environment(
    config: RunConfig,
    workspace: Path,
    environ: MutableMapping[str, str] = os.environ,
    *,
    online: bool = False,
) -> None:
    """Set the libraries' variables for this run; the hub is asked where something lies there, or where `online` says so."""
    set_caches(workspace, environ)
    threads = str(cpu_count())
    environ.setdefault("OMP_NUM_THREADS", threads)
    environ.setdefault("MKL_NUM_THREADS", threads)
    origins = (config.model_source, *(source.uri for source in config.dataset.all_sources))
    if not online and not any(origin.startswith("hf://") for origin in origins):
        go_offline(environ)
    # NVML, and so the energy meter, counts GPUs in this order.
    environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if config.gpus and not without_gpus(environ):
        environ["UNSLOTH_DISABLE_CPU_FALLBACK"] = "1"
        environ.setdefault("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(config.gpus))))
        environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    else:
        environ.pop("UNSLOTH_DISABLE_CPU_FALLBACK", None)
        environ["UNSLOTH_FORCE_CPU"] = "1"
        environ["CUDA_VISIBLE_DEVICES"] = ""
        # Threads that spin while they wait take the cores from whatever else runs on the node.
        environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def set_caches(workspace: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Set what holds for every command: no telemetry, plain HTTP, caches in the workspace."""
    environ.update(_QUIET | _PLAIN_HTTP)
    for name, folder in _CACHES.items():
        if os.access(environ.get(name, ""), os.W_OK):
            continue
        path = workspace / folder
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        environ[name] = str(path)


def without_gpus(environ: Mapping[str, str]) -> bool:
    """Tell whether the processes of several GPUs are to run without any."""
    return environ.get(WITHOUT_GPUS_VARIABLE) == "1"


def prepare_rank(environ: MutableMapping[str, str], *, rank: int, size: int, nodes: int = 1) -> None:
    """Set the variables of one process of several on this machine: a GPU, a part of the CPUs, a folder of its own."""
    if size == 1:
        return
    gpus = [name for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if gpus:
        environ["CUDA_VISIBLE_DEVICES"] = gpus[rank] if rank < len(gpus) else ""
    threads = max(1, int(environ.get("OMP_NUM_THREADS", cpu_count())) // size)
    environ["OMP_NUM_THREADS"] = environ["MKL_NUM_THREADS"] = str(threads)
    if generated := environ.get("UNSLOTH_COMPILE_LOCATION"):
        # Code that is imported while it may still be written by another process.
        environ["UNSLOTH_COMPILE_LOCATION"] = f"{generated}-{rank}"
    if nodes == 1:  # else gloo takes the interface that the machine's name leads to
        environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def go_offline(environ: MutableMapping[str, str] = os.environ) -> None:
    """Keep the libraries from asking the model hub: everything they need lies in the workspace."""
    environ["HF_HUB_OFFLINE"] = "1"
    environ["TRANSFORMERS_OFFLINE"] = "1"


def cpu_count(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the CPUs that this container may use: its quota (cgroup v2 or v1), else its affinity."""
    affinity = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return max(1, min(affinity, -(-quota[0] // quota[1]))) if quota else affinity


def _quota(cgroup: Path) -> tuple[int, int] | None:
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return (int(quota), int(period)) if quota != "max" else None
    except OSError:
        pass
    try:
        quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text()
        period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        return (int(quota), int(period)) if int(quota) > 0 else None
    except OSError:
        return None
