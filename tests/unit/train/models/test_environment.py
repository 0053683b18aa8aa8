"""The environment of the libraries, before any of them is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelgarden.api.pods import PodDataset, PodSource
from modelgarden_train.models.environment import cpu_count, prepare_environment, prepare_rank
from tests.unit.train.builders import make_config


def test_every_cache_lies_in_the_workspace_and_telemetry_is_off(tmp_path: Path) -> None:
    environ: dict[str, str] = {"HOME": "/nonexistent"}

    prepare_environment(make_config(), tmp_path, environ)

    for name in (
        "HOME",
        "HF_HOME",
        "UNSLOTH_COMPILE_LOCATION",
        "TRITON_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR",
    ):
        assert Path(environ[name]).is_relative_to(tmp_path)
        assert Path(environ[name]).is_dir()
    assert environ["UNSLOTH_DISABLE_STATISTICS"] == "1"
    assert environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert environ["HF_HUB_DISABLE_XET"] == "1"


def test_a_cache_that_can_be_written_is_kept(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    environ = {"HF_HOME": str(mine)}

    prepare_environment(make_config(), tmp_path / "workspace", environ)

    assert environ["HF_HOME"] == str(mine)


def test_without_a_gpu_cuda_is_hidden_and_with_one_the_cpu_is_no_way_out(tmp_path: Path) -> None:
    on_cpu: dict[str, str] = {"CUDA_VISIBLE_DEVICES": "0"}
    on_gpu: dict[str, str] = {}

    prepare_environment(make_config(), tmp_path, on_cpu)
    prepare_environment(make_config(gpus=1), tmp_path, on_gpu)

    assert on_cpu["CUDA_VISIBLE_DEVICES"] == ""
    assert on_cpu["UNSLOTH_FORCE_CPU"] == "1"
    assert "UNSLOTH_FORCE_CPU" not in on_gpu
    assert on_gpu["UNSLOTH_DISABLE_CPU_FALLBACK"] == "1"
    assert on_gpu["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_each_of_several_processes_has_a_gpu_a_part_of_the_cpus_and_a_folder_of_its_own(
    tmp_path: Path,
) -> None:
    environ: dict[str, str] = {}
    prepare_environment(make_config(gpus=2), tmp_path, environ)
    environ["OMP_NUM_THREADS"] = "7"
    each = [dict(environ), dict(environ)]

    for rank, variables in enumerate(each):
        prepare_rank(variables, rank=rank, size=2)

    assert environ["CUDA_VISIBLE_DEVICES"] == "0,1", "the meter sees all of them"
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in each] == ["0", "1"]
    assert {variables["OMP_NUM_THREADS"] for variables in each} == {"3"}
    assert len({variables["UNSLOTH_COMPILE_LOCATION"] for variables in each}) == 2
    assert {variables["TRITON_CACHE_DIR"] for variables in each} == {environ["TRITON_CACHE_DIR"]}


@pytest.mark.parametrize(("rank", "want"), [(0, "GPU-a"), (1, "GPU-b"), (2, "")])
def test_a_process_takes_its_gpu_of_those_that_the_pod_was_given(rank: int, want: str) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b", "UNSLOTH_COMPILE_LOCATION": "/c"}

    prepare_rank(environ, rank=rank, size=3)

    assert environ["CUDA_VISIBLE_DEVICES"] == want


def test_one_process_is_left_as_it_is() -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "0,1"}

    prepare_rank(environ, rank=0, size=1)

    assert environ == {"CUDA_VISIBLE_DEVICES": "0,1"}


def test_processes_of_gpus_that_are_not_there_train_on_the_cpu_where_a_test_asks_for_it(
    tmp_path: Path,
) -> None:
    environ = {"MODELGARDEN_WITHOUT_GPUS": "1", "UNSLOTH_DISABLE_CPU_FALLBACK": "1"}

    prepare_environment(make_config(gpus=2), tmp_path, environ)

    assert (environ["CUDA_VISIBLE_DEVICES"], environ["UNSLOTH_FORCE_CPU"]) == ("", "1")
    assert "UNSLOTH_DISABLE_CPU_FALLBACK" not in environ


@pytest.mark.parametrize(
    ("fields", "offline"),
    [
        ({}, True),
        ({"model_source": "hf://org/name"}, False),
        ({"dataset": PodDataset(sources=(PodSource(uri="hf://org/name"),))}, False),
    ],
    ids=["from S3", "the model", "the dataset"],
)
def test_the_hub_is_asked_only_for_what_lies_there(
    fields: dict[str, object], offline: bool, tmp_path: Path
) -> None:
    environ: dict[str, str] = {}

    prepare_environment(make_config(**fields), tmp_path, environ)

    assert environ.get("HF_HUB_OFFLINE") == ("1" if offline else None)


@pytest.mark.parametrize(
    ("files", "want"),
    [
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_the_cpu_quota_limits_the_threads(files: dict[str, str], want: int, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    assert cpu_count(tmp_path) == want


@pytest.mark.parametrize("files", [{}, {"cpu.max": "max 100000\n"}])
def test_without_a_quota_the_affinity_counts(files: dict[str, str], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    assert cpu_count(tmp_path) == cpu_count(tmp_path / "nowhere")
