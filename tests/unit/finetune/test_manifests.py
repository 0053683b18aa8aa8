"""The manifests of the Jobs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from modelgarden.api.finetunejob import Dpo, EarlyStopping, Objective, TensorBoard, Trackers, Vision
from modelgarden.api.pods import RunConfig
from modelgarden.finetune.manifests.prepare import prepare_job
from modelgarden.finetune.manifests.publish import publish_job
from modelgarden.finetune.manifests.train import train_job, train_objects
from modelgarden.settings import Settings
from tests.unit.builders import (
    FINGERPRINT,
    SETTINGS,
    make_parent,
    make_registration,
    make_subject,
    with_status,
)

GPU_SPEC: dict[str, Any] = {
    "model": {"source": "hf://org/name", "revision": "abc", "tokenSecretRef": {"name": "hub"}},
    "method": "QLoRA",
    "resources": {"gpus": 1, "cpu": "8", "memory": "32Gi"},
    "carbon": {"zone": "DEU", "pue": 1.25},
    "podTemplate": {
        "labels": {"kueue.x-k8s.io/queue-name": "gpus"},
        "annotations": {"prometheus.io/scrape": "false", "team": "nlp"},
        "nodeSelector": {"nvidia.com/gpu.product": "H200"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "batch",
        "runtimeClassName": "nvidia",
        "serviceAccountName": "trainer",
        "imagePullSecrets": [{"name": "registry"}],
    },
}


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return dict(container)


def variables_of(job: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container_of(job)["env"]}


def config_of(job: dict[str, Any]) -> RunConfig:
    return RunConfig.model_validate_json(variables_of(job)["MODELGARDEN_CONFIG"])


@pytest.mark.parametrize("spec", [{}, GPU_SPEC], ids=["on a CPU", "on GPUs"])
def test_the_prepare_job(spec: dict[str, Any], snapshot: SnapshotAssertion) -> None:
    assert prepare_job(make_subject(**spec), SETTINGS, inputs_hash=FINGERPRINT) == snapshot


@pytest.mark.parametrize("spec", [{}, GPU_SPEC], ids=["on a CPU", "on GPUs"])
def test_the_train_job(spec: dict[str, Any], snapshot: SnapshotAssertion) -> None:
    assert train_job(make_subject(**spec), SETTINGS) == snapshot


def test_the_publish_job(snapshot: SnapshotAssertion) -> None:
    hub = {"repository": "org/bot", "tokenSecretRef": {"name": "publisher"}}
    subject = make_subject(**GPU_SPEC, output={"uri": "s3://garden/root", "modelName": "bot", "hub": hub})
    artifact = make_registration(subject, version=3).artifact

    assert publish_job(subject, SETTINGS, artifact, inputs_hash=FINGERPRINT) == snapshot


@pytest.mark.parametrize("spec", [{}, GPU_SPEC], ids=["on a CPU", "on GPUs"])
def test_pods_satisfy_the_restricted_profile_and_get_no_token(spec: dict[str, Any]) -> None:
    subject = make_subject(**spec)
    for job in (prepare_job(subject, SETTINGS, inputs_hash="x"), train_job(subject, SETTINGS)):
        pod, container = job["spec"]["template"]["spec"], container_of(job)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_an_earlier_result_is_the_base_model_of_both_jobs() -> None:
    parent = make_parent()
    subject = with_status(make_subject(model={"registry": {"name": "bot", "alias": "latest"}}), parent=parent)

    configs = [
        config_of(prepare_job(subject, SETTINGS, inputs_hash="x")), config_of(train_job(subject, SETTINGS))
    ]  # fmt: skip

    assert [(one.schema_version, one.model_source, one.model_revision, one.parent) for one in configs] == [
        ("2.1", parent.source, None, parent)
    ] * 2


def test_no_job_is_made_of_an_earlier_result_that_is_not_known_yet() -> None:
    subject = make_subject(model={"fineTuneJobRef": {"name": "first"}})

    with pytest.raises(ValueError, match="not known yet"):
        train_job(subject, SETTINGS)


def test_the_prepare_pod_takes_no_gpu_and_little_else() -> None:
    job = prepare_job(make_subject(**GPU_SPEC), SETTINGS, inputs_hash="x")

    assert container_of(job)["resources"] == {
        "requests": {"cpu": "500m", "memory": "2Gi"},
        "limits": {"memory": "2Gi"},
    }
    assert config_of(job).gpus == 0
    assert variables_of(job)["NVIDIA_VISIBLE_DEVICES"] == "void"


@pytest.mark.parametrize(
    ("cpu", "memory", "want"),
    [
        ("250m", "1Gi", {"cpu": "250m", "memory": "1Gi"}),
        ("0.25", "1500M", {"cpu": "0.25", "memory": "1500M"}),
        (1, 1_000_000_000, {"cpu": "500m", "memory": "1000000000"}),
        ("500m", "2Gi", {"cpu": "500m", "memory": "2Gi"}),
    ],
)
def test_the_prepare_pod_takes_less_when_less_is_asked(cpu: Any, memory: Any, want: dict[str, str]) -> None:
    subject = make_subject(resources={"gpus": 0, "cpu": cpu, "memory": memory})

    assert container_of(prepare_job(subject, SETTINGS, inputs_hash="x"))["resources"]["requests"] == want


@pytest.mark.parametrize(
    ("asked", "want"),
    [
        ({"cpu": "2", "memory": "8Gi"}, {"cpu": "2", "memory": "8Gi"}),
        ({"memory": "64Gi"}, {"cpu": "250m", "memory": "64Gi"}),
        ({"cpu": 4}, {"cpu": "4", "memory": "1Gi"}),
    ],
)
def test_the_prepare_pod_takes_what_the_dataset_asks_for(asked: dict[str, Any], want: dict[str, str]) -> None:
    subject = make_subject(
        resources={"gpus": 0, "cpu": "250m", "memory": "1Gi"},
        dataset={"source": "s3://data/rows.jsonl", "resources": asked},
    )

    resources = container_of(prepare_job(subject, SETTINGS, inputs_hash="x"))["resources"]

    assert resources == {"requests": want, "limits": {"memory": want["memory"]}}
    train = container_of(train_job(subject, SETTINGS))["resources"]
    assert train["requests"] == {"cpu": "250m", "memory": "1Gi"}


def test_the_train_pod_on_gpus_never_trains_on_a_cpu() -> None:
    job = train_job(make_subject(**GPU_SPEC), SETTINGS)

    assert container_of(job)["resources"]["limits"] == {"memory": "32Gi", "nvidia.com/gpu": "1"}
    assert variables_of(job)["UNSLOTH_DISABLE_CPU_FALLBACK"] == "1"
    assert config_of(job).gpus == 1
    mounts = {one["mountPath"] for one in container_of(job)["volumeMounts"]}
    assert "/dev/shm" in mounts


def test_the_train_pod_gets_all_gpus_of_one_node_and_its_trainer_knows_how_many() -> None:
    job = train_job(make_subject(resources={"gpus": 4, "cpu": "16", "memory": "96Gi"}), SETTINGS)

    assert container_of(job)["resources"] == {
        "requests": {"cpu": "16", "memory": "96Gi", "nvidia.com/gpu": "4"},
        "limits": {"memory": "96Gi", "nvidia.com/gpu": "4"},
    }
    assert config_of(job).gpus == 4


def test_a_queues_label_is_on_job_and_pod_and_the_queue_decides_when_it_runs() -> None:
    job = train_job(make_subject(**GPU_SPEC), SETTINGS)

    for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
        assert labels["modelgarden.dev/step"] == "train"
        assert labels["kueue.x-k8s.io/queue-name"] == "gpus"
    assert "suspend" not in job["spec"]


def test_the_hub_token_reaches_the_pods_from_its_secret() -> None:
    job = train_job(make_subject(**GPU_SPEC), SETTINGS)

    assert variables_of(job)["HF_TOKEN"] == {"secretKeyRef": {"name": "hub", "key": "HF_TOKEN"}}


@pytest.mark.parametrize(
    ("carbon", "settings", "want"),
    [
        ({"zone": "DEU", "pue": 1.2}, {}, ("DEU", 1200, True)),
        ({}, {"default_zone": "FRA", "default_pue": 1.35}, ("FRA", 1350, False)),
        ({}, {}, (None, 1000, False)),
        ({"pue": 1.1}, {"default_zone": "FRA"}, ("FRA", 1100, True)),
    ],
    ids=["given", "the operator's", "unknown zone", "given in part"],
)
def test_what_emissions_are_computed_with(
    carbon: dict[str, Any], settings: dict[str, Any], want: tuple[str | None, int, bool]
) -> None:
    job = train_job(make_subject(carbon=carbon), Settings(train_image="t", serve_image="s", **settings))

    found = config_of(job).carbon
    assert (found.zone, found.pue_milli, found.pue_given) == want


def test_the_same_spec_gives_the_same_job() -> None:
    first, second = (json.dumps(train_job(make_subject(**GPU_SPEC), SETTINGS)) for _ in range(2))

    assert first == second


def test_claims_and_config_maps_are_mounted_for_reading_each_once_in_the_prepare_pod_alone() -> None:
    uris = ("pvc://corpus/a/", "s3://data/a", "configmap://faq/a", "pvc://corpus/b", "configmap://faq/b")
    subject = make_subject(dataset={"sources": [{"uri": uri} for uri in uris]})

    def volumes(job: dict[str, Any]) -> list[list[dict[str, Any]]]:
        lists = (job["spec"]["template"]["spec"]["volumes"], container_of(job)["volumeMounts"])
        return [[one for one in found if one["name"].startswith("source-")] for found in lists]

    assert volumes(prepare_job(subject, SETTINGS, inputs_hash="x")) == [
        [
            {"name": "source-0", "persistentVolumeClaim": {"claimName": "corpus", "readOnly": True}},
            {"name": "source-1", "configMap": {"name": "faq", "optional": True}},
        ],
        [
            {"name": "source-0", "mountPath": "/sources/pvc/corpus", "readOnly": True},
            {"name": "source-1", "mountPath": "/sources/configmap/faq", "readOnly": True},
        ],
    ]
    assert volumes(train_job(subject, SETTINGS)) == [[], []]


def test_validation_sources_have_tokens_and_mounts_of_their_own_and_need_a_trainer_that_knows_them() -> None:
    held_out = [{"uri": "pvc://held/a"}, {"uri": "hf://org/name", "tokenSecretRef": {"name": "acme"}}]
    subject = make_subject(dataset={"source": "s3://data/a", "validationSources": held_out})

    job = prepare_job(subject, SETTINGS, inputs_hash="x")

    wanted = {"secretKeyRef": {"name": "acme", "key": "HF_TOKEN"}}
    assert variables_of(job)["MODELGARDEN_SOURCE_2_HF_TOKEN"] == wanted
    assert "/sources/pvc/held" in {mount["mountPath"] for mount in container_of(job)["volumeMounts"]}
    assert config_of(job).schema_version == "3.0"
    assert config_of(prepare_job(make_subject(), SETTINGS, inputs_hash="x")).schema_version == "2.0"


def test_the_pods_are_told_of_the_objective() -> None:
    config = config_of(train_job(make_subject(objective={"type": "DPO", "dpo": {"beta": 0.2}}), SETTINGS))

    assert config.schema_version == "2.3"
    assert config.objective == Objective(type="DPO", dpo=Dpo(beta=0.2))
    assert config.learning_rate == 5e-6


def test_a_format_that_only_later_trainers_know_says_so() -> None:
    def made(**spec: Any) -> RunConfig:
        gguf = {"formats": ["GGUF"], "gguf": {"quantization": "Q8_0"}}
        output = {"uri": "s3://garden/root", "modelName": "bot", **gguf}
        return config_of(train_job(make_subject(output=output, **spec), SETTINGS))

    held_out = {"source": "s3://data/a", "validationSources": [{"uri": "s3://data/b"}]}
    in_gcs = {"source": "gs://data/rows.jsonl"}
    storage = {"gcs": {"credentialsSecretRef": {"name": "account"}}}

    assert made().gguf_quantization == "Q8_0"
    assert made().schema_version == "2.9"
    assert made(dataset=held_out).schema_version == "3.9"
    assert made(training={"maxSteps": 5}).schema_version == "4.7"
    assert made(dataset=in_gcs, storage=storage).schema_version == "5.4"


@pytest.mark.parametrize(
    ("trackers", "want"),
    [
        ({}, ("2.0", "4.0")),
        ({"tensorboard": {}}, ("2.2", "4.0")),
        ({"mlflow": {"trackingUri": "https://a", "experiment": "b"}, "tensorboard": {}}, ("2.4", "4.2")),
        ({"wandb": {"project": "a", "mode": "Offline"}}, ("2.5", "4.3")),
    ],
    ids=["none", "TensorBoard", "MLflow", "Weights & Biases"],
)
def test_the_configuration_says_which_version_knows_the_trackers(
    trackers: dict[str, Any], want: tuple[str, str]
) -> None:
    former = config_of(train_job(make_subject(trackers=trackers), SETTINGS))
    later = config_of(train_job(make_subject(trackers=trackers, training={"maxSteps": 5}), SETTINGS))

    assert (former.schema_version, later.schema_version) == want


def test_the_pods_are_told_of_trackers_where_there_are_any() -> None:
    tracked = train_job(make_subject(trackers={"tensorboard": {}}), SETTINGS)

    assert config_of(tracked).trackers == Trackers(tensorboard=TensorBoard())
    assert "trackers" not in variables_of(train_job(make_subject(), SETTINGS))["MODELGARDEN_CONFIG"]


def test_what_a_trainer_of_before_would_overlook_needs_one_that_knows_it() -> None:
    changed = config_of(train_job(make_subject(training={"maxSteps": 5}), SETTINGS))

    seen = {"validation": {"everySteps": 5}, "earlyStopping": {"patience": 1}}
    validated = config_of(train_job(make_subject(training=seen), SETTINGS))
    assert (validated.schema_version, validated.training.early_stopping) == ("4.4", EarlyStopping(patience=1))
    smaller = make_subject(method="Full", training={"optimizer": "AdamW8bit"}, resources={"gpus": 1})
    assert config_of(train_job(smaller, SETTINGS)).schema_version == "4.5"
    assert changed.schema_version == "4.0"
    assert changed.training.max_steps == 5
    assert config_of(train_job(make_subject(training={"epochs": 5}), SETTINGS)).schema_version == "2.0"


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ({}, "2.8"),
        ({"training": {"maxSteps": 5}}, "4.6"),
        ({"output": {"uri": "gs://garden/root", "modelName": "bot"}}, "5.3"),
    ],
    ids=["of the second form", "of the fourth", "in GCS"],
)
def test_the_pods_are_told_how_long_a_worker_may_be_silent(spec: dict[str, Any], want: str) -> None:
    config = config_of(train_job(make_subject(stallTimeoutSeconds=600, **spec), SETTINGS))

    assert (config.schema_version, config.stall_timeout_seconds) == (want, 600)


def test_a_job_in_gcs_gets_its_key_and_says_so_to_an_older_trainer() -> None:
    storage = {"gcs": {"endpoint": "http://gcs:4443", "credentialsSecretRef": {"name": "account"}}}
    output = {"uri": "gs://my_garden/root", "modelName": "bot"}
    specs: tuple[dict[str, Any], ...] = (
        {"output": output},
        {"dataset": {"source": "gs://data/rows.jsonl"}},
        {"model": {"source": "gs://models/m"}},
    )
    for spec in specs:
        for job in (
            prepare_job(make_subject(storage=storage, **spec), SETTINGS, inputs_hash="x"),
            train_job(make_subject(storage=storage, **spec), SETTINGS),
        ):
            variables, config = variables_of(job), config_of(job)
            assert config.schema_version.startswith("5.")
            assert config.storage.gcs_endpoint == "http://gcs:4443"
            reference = {"name": "account", "key": "GOOGLE_CREDENTIALS"}
            assert variables["GOOGLE_CREDENTIALS"] == {"secretKeyRef": reference}
            assert "AWS_ACCESS_KEY_ID" not in variables
    assert config_of(train_job(make_subject(storage=storage), SETTINGS)).schema_version == "2.0"


def test_only_a_job_with_images_needs_a_trainer_that_knows_of_them() -> None:
    seeing = make_subject(modality="Vision", method="QLoRA", resources={"gpus": 1})
    told = make_subject(modality="Vision", vision={"maxPixels": 3136}, trackers={"tensorboard": {}})

    config, smaller = (config_of(train_job(subject, SETTINGS)) for subject in (seeing, told))
    assert (config.schema_version, config.vision) == ("7.0", Vision())
    assert (smaller.schema_version, smaller.vision) == ("7.0", Vision(max_pixels=3136))
    assert "vision" not in json.dumps(train_job(make_subject(), SETTINGS))


TWO_NODES: dict[str, Any] = {**GPU_SPEC, "resources": {"gpus": 4, "nodes": 2, "cpu": "8", "memory": "32Gi"}}


def test_the_train_job_of_two_nodes_and_its_service(snapshot: SnapshotAssertion) -> None:
    assert train_objects(make_subject(**TWO_NODES), SETTINGS) == snapshot


def test_one_node_takes_a_job_alone() -> None:
    (job,) = train_objects(make_subject(**GPU_SPEC), SETTINGS)

    assert "completionMode" not in job["spec"]
    assert config_of(job).group is None
    assert config_of(job).schema_version.startswith("2.")


def test_pods_of_several_nodes_know_where_the_first_one_is() -> None:
    subject = make_subject(**TWO_NODES)
    service, job = train_objects(subject, SETTINGS.model_copy(update={"cluster_domain": "garden.local"}))
    config = config_of(job)

    assert (config.schema_version, config.gpus, config.nodes) == ("7.0", 4, 2)
    assert config.group is not None
    assert config.group.host == f"bot-train-0.{service['metadata']['name']}.team.svc.garden.local"
    assert config.group.port == service["spec"]["ports"][0]["port"]
    assert job["spec"]["template"]["metadata"]["labels"].items() >= service["spec"]["selector"].items()


def test_the_dataset_of_several_nodes_is_prepared_by_one_pod() -> None:
    job = prepare_job(make_subject(**TWO_NODES), SETTINGS, inputs_hash=FINGERPRINT)

    assert "completionMode" not in job["spec"]
    assert config_of(job).group is None


def test_a_cluster_of_development_has_processes_for_the_gpus_that_it_lacks() -> None:
    subject = make_subject(**TWO_NODES)
    _, job = train_objects(subject, SETTINGS.model_copy(update={"without_gpus": True}))

    variables = variables_of(job)
    assert config_of(job).gpus == 4
    assert variables["MODELGARDEN_WITHOUT_GPUS"] == "1"
    assert variables["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert "UNSLOTH_DISABLE_CPU_FALLBACK" not in variables
    assert "nvidia.com/gpu" not in json.dumps(container_of(job)["resources"])


@pytest.mark.parametrize("without_gpus", [False, True])
def test_a_job_that_asks_for_no_gpus_is_the_same_on_any_cluster(without_gpus: bool) -> None:
    settings = SETTINGS.model_copy(update={"without_gpus": without_gpus})

    assert train_job(make_subject(), settings) == train_job(make_subject(), SETTINGS)
