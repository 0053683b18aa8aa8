"""What the demo puts into the cluster before its one `kubectl apply`: chart, namespace, secret, data, base model."""

from __future__ import annotations

import hashlib
import json
import time
from urllib.parse import urlparse

from hack.demo import environment as environments
from hack.demo import ownership
from hack.demo.bucket import Bucket, open_bucket
from hack.demo.environment import EXAMPLE_BUCKET, ROOT, Environment, Say
from hack.demo.errors import DemoError
from hack.demo.follow import POLL_SECONDS, get
from hack.demo.ownership import Manifest

EXAMPLE = ROOT / "examples" / "quickstart"
DATASET = EXAMPLE / "text-to-sql.jsonl"
BASE_MODEL_SCRIPTS = (ROOT / "hack" / "demo" / "base_model.py", ROOT / "hack" / "demo" / "upload_folder.py")
NAMESPACE = "quickstart"
SYSTEM_NAMESPACE = "modelgarden-system"
RELEASE = "modelgarden"
BASE_MODEL_KEY = "base-model"
BASE_MODEL_MARKER = "base-model.inputs"
EXAMPLE_ENDPOINT = "http://s3.quickstart.svc.cluster.local:9000"
"""The endpoint that the example's manifests name; the demo makes this Service."""

MADE_IN_BUCKET = (DATASET.name, BASE_MODEL_KEY, BASE_MODEL_MARKER, "garden")
CRDS = "finetunejobs.modelgarden.dev modeldeployments.modelgarden.dev"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def install_chart(environment: Environment, say: Say) -> None:
    """Install or upgrade the chart and wait until the operator is available; one that is the user's is used as it is.

    Raises:
        DemoError: a namespace of the demo's is somebody else's, or the user's operator does not serve it.
    """
    ownership.refuse_of_another(environment, NAMESPACE)  # before anything is installed
    if not environment.local and _is_installed_by_another(environment, say):
        return
    ownership.refuse_of_another(environment, SYSTEM_NAMESPACE)
    apply(environment, [_namespace(SYSTEM_NAMESPACE)])
    _end_interrupted_operation(environment)
    environment.helm(
        "upgrade", "--install", RELEASE, str(ROOT / "charts" / "modelgarden"),
        "--namespace", SYSTEM_NAMESPACE, "--wait", "--timeout", "5m", *_values(environment),
    )  # fmt: skip


def _is_installed_by_another(environment: Environment, say: Say) -> bool:
    others = ownership.find_operators_of_others(environment)
    if others and not any(ownership.serves(operator, NAMESPACE) for operator in others.values()):
        raise DemoError(
            f"Model Garden is installed in {', '.join(others)} and does not serve the namespace {NAMESPACE}: add it"
            " to the chart's value watchNamespaces"
        )
    if others:
        say(f"using the Model Garden in {', '.join(others)} as it is")
    return bool(others)


def _values(environment: Environment) -> list[str]:
    """Return the chart's values as options of helm, the demo's mark among them."""
    images = {
        "operator": environment.images.operator,
        "train": environment.images.train,
        "serve": environment.images.serve,
    }
    mark = ownership.MARK.replace(".", "\\.")
    values = ["--set-string", f"podAnnotations.{mark}={ownership.MAKER}"]
    for part, image in images.items():
        repository, tag = image.rsplit(":", 1)
        values += [
            "--set-string",
            f"images.{part}.repository={repository}",
            "--set-string",
            f"images.{part}.tag={tag}",
        ]
    if environment.local:
        # The tag of a local build stays the same, so this is what makes a new one roll out.
        values += ["--set-string", f"podAnnotations.image={environments.operator_digest()}"]
    return values


def _end_interrupted_operation(environment: Environment) -> None:
    """Take back an installation or upgrade that was stopped half-way, which helm would wait for for ever."""
    release = ("--namespace", SYSTEM_NAMESPACE)
    listed = json.loads(
        environment.helm("list", *release, "--pending", "--filter", f"^{RELEASE}$", "--output", "json")
    )
    state = listed[0]["status"] if listed else ""
    if state == "pending-install":
        environment.helm("uninstall", RELEASE, *release, "--wait")
    elif state.startswith("pending-"):
        environment.helm("rollback", RELEASE, *release, "--wait")


def create_namespace(environment: Environment) -> None:
    """Create the demo's namespace with its S3 secret and, on a local cluster, the name of its S3 server."""
    objects = [_namespace(NAMESPACE, RESTRICTED), _secret(environment)]
    if environment.local:
        objects += _s3_service(environment.s3.pods_endpoint)
    apply(environment, objects)


def example(environment: Environment) -> str:
    """Return the example's manifests with the S3 service of the environment."""
    manifests = (EXAMPLE / "quickstart.yaml").read_text()
    if environment.local:
        return manifests
    return manifests.replace(EXAMPLE_ENDPOINT, environment.s3.pods_endpoint).replace(
        f"s3://{EXAMPLE_BUCKET}/", f"s3://{environment.s3.bucket}/"
    )


def apply(environment: Environment, objects: list[Manifest]) -> None:
    """Apply objects in one call."""
    bundle = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    # On the server's side: the dataset in a ConfigMap is larger than an annotation may be.
    environment.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=bundle)


def upload_dataset(environment: Environment) -> Bucket:
    """Create the bucket and upload the dataset; return the bucket."""
    bucket = open_bucket(environment)
    bucket.upload(DATASET)
    return bucket


def make_base_model(environment: Environment, bucket: Bucket, say: Say) -> None:
    """Make the small base model in a pod of the train image and upload it, unless the one in S3 is current.

    Raises:
        DemoError: the pod failed; the message is the end of its log.
    """
    inputs = hashlib.sha256(
        b"".join(path.read_bytes() for path in (*BASE_MODEL_SCRIPTS, DATASET))
    ).hexdigest()
    if bucket.text(BASE_MODEL_MARKER) == inputs:
        say("the base model in S3 is current")
        return
    name = f"base-model-{inputs[:8]}"
    apply(environment, [_scripts(name), _base_model_job(environment, name)])
    deadline = time.monotonic() + 1200
    while True:
        status = get(environment, NAMESPACE, "jobs.batch", name).get("status", {})
        if status.get("succeeded"):
            break
        log = _log(environment, name)
        if status.get("failed") or time.monotonic() > deadline:
            environment.kubectl("-n", NAMESPACE, "delete", "job", name)
            raise DemoError(f"making the base model failed:\n{log}")
        say(log.rsplit("\n", 1)[-1] or "waiting for the pod")
        time.sleep(POLL_SECONDS)
    bucket.put(BASE_MODEL_MARKER, inputs)
    environment.kubectl("-n", NAMESPACE, "delete", "job,configmap", name, "--wait=false")


def uninstall(environment: Environment, say: Say) -> None:
    """Remove what the demo put into a cluster that is not its own, and say what stays and how to remove it."""
    others = ownership.find_operators_of_others(environment)
    if _is_the_demos(environment, NAMESPACE, say):
        environment.kubectl("delete", "namespace", NAMESPACE)
    if SYSTEM_NAMESPACE in others:
        say(f"The Model Garden in {SYSTEM_NAMESPACE} is not the demo's and stays.")
    elif _is_the_demos(environment, SYSTEM_NAMESPACE, say):
        environment.helm("uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--ignore-not-found")
        environment.kubectl("delete", "namespace", SYSTEM_NAMESPACE)
    if not others:
        say(
            f"The CRDs stay; this deletes them with every FineTuneJob and ModelDeployment: kubectl delete crd {CRDS}"
        )
    s3 = environment.s3
    say(
        f"The bucket stays, with {', '.join(MADE_IN_BUCKET)}; this deletes it with all that is in it:"
        f" aws --endpoint-url {s3.endpoint} s3 rb --force s3://{s3.bucket}"
    )


def _is_the_demos(environment: Environment, name: str, say: Say) -> bool:
    found = ownership.find_namespace(environment, name)
    if found is not None and not ownership.is_marked(found):
        say(f"The namespace {name} is not the demo's and stays.")
    return found is not None and ownership.is_marked(found)


def _namespace(name: str, labels: dict[str, str] | None = None) -> Manifest:
    metadata = {"name": name, "labels": {ownership.MARK: ownership.MAKER, **(labels or {})}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _secret(environment: Environment) -> Manifest:
    data = {
        "AWS_ACCESS_KEY_ID": environment.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": environment.s3.secret_key,
    }
    metadata = {"name": "s3", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def _s3_service(endpoint: str) -> list[Manifest]:
    """Return a Service without a selector whose one endpoint is the S3 server beside the cluster."""
    address = urlparse(endpoint)
    port = {"name": "s3", "port": 9000, "protocol": "TCP"}
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s3", "namespace": NAMESPACE},
        "spec": {"ports": [{**port, "targetPort": address.port}]},
    }  # fmt: skip
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "s3", "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": "s3"}},
        "ports": [{**port, "port": address.port}],
        "endpoints": [{"addresses": [address.hostname], "conditions": {"ready": True}}],
    }  # fmt: skip
    return [service, endpoints]


def _scripts(name: str) -> Manifest:
    files = {path.name: path.read_text() for path in (*BASE_MODEL_SCRIPTS, DATASET)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": files,
    }


def _base_model_job(environment: Environment, name: str) -> Manifest:
    command = (
        f"python /demo/base_model.py --dataset /demo/{DATASET.name} --output /workspace/base"
        f" && python /demo/upload_folder.py /workspace/base {environment.s3.bucket} {BASE_MODEL_KEY}"
    )
    variables = {
        "HOME": "/workspace", "HF_HOME": "/workspace/hf", "HF_HUB_OFFLINE": "1",
        "AWS_ENDPOINT_URL": EXAMPLE_ENDPOINT if environment.local else environment.s3.pods_endpoint,
        "AWS_DEFAULT_REGION": "us-east-1", "PYTHONUNBUFFERED": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # two spinning threads starve each other where others use the cores too
    }  # fmt: skip
    mounts = {"demo": "/demo", "work": "/workspace", "tmp": "/tmp"}  # noqa: S108 -- the pod's own
    container = {
        "name": "base-model",
        "image": environment.images.train,
        "command": ["/bin/sh", "-ec", command],
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "envFrom": [{"secretRef": {"name": "s3"}}],
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "4Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in mounts.items()],
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [container],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [
            {"name": "demo", "configMap": {"name": name}},
            {"name": "work", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def _log(environment: Environment, name: str) -> str:
    try:
        return environment.kubectl("-n", NAMESPACE, "logs", f"job/{name}", "--tail=15").strip()
    except DemoError:  # the container has not started yet
        return ""
