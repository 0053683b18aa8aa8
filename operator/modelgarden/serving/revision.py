"""Which revision is wanted: the hash of what was declared, found again among the live Deployments. Pure.

Declared are the artifact, the image, and the fields of the spec that reach the pods, without those that have their
default. Nothing of the operator's own making is in the hash, so that a new version of it rolls out nothing. For that
the default of a field never changes within an API version: the API server has stored it with the object.

The deadline for a revision's progress is the startup limit of its pods too. It counts until the revision has served:
raising it is another try, and later it is no reason to replace a pod that answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from modelgarden.api.common import Resources
from modelgarden.kube.quantities import quantity
from modelgarden.serving.earlier import knew, says_the_same
from modelgarden.serving.manifests import FAILED_ANNOTATION, SERVED_ANNOTATION, notes_of, record_of
from modelgarden.serving.template import Wanted, template

REACHES_THE_PODS: Final[dict[str, Any]] = {
    "engine": True,
    "resources": True,
    "pod_template": True,
    "storage": True,
    "rollout": {"progress_deadline_seconds"},
}
"""Fields of the spec that are declared of the pods. Each new field of the spec is either here or beside them."""


def declared(wanted: Wanted) -> dict[str, Any]:
    """Return what was declared of the pods, as JSON."""
    spec = wanted.spec.model_copy(update={"resources": _as_numbers(wanted.spec.resources)})
    return {
        "artifact": {"uri": wanted.artifact.uri, "sha256": wanted.artifact.sha256},
        "image": wanted.settings.serve_image,
        "servedModelName": wanted.served_name,
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=REACHES_THE_PODS),
    }


def _as_numbers(resources: Resources) -> Resources:
    """Return the amounts in one way of writing: 1 and 1000m are the same, and so are 4 and its default, "4"."""
    defaults = Resources()
    amounts = {name: getattr(resources, name) for name in ("cpu", "memory")}
    same = {
        name: getattr(defaults, name)
        if quantity(amount) == quantity(getattr(defaults, name))
        else f"{quantity(amount).normalize():f}"
        for name, amount in amounts.items()
    }
    return resources.model_copy(update=same)


def revision_hash(wanted: Wanted) -> str:
    """Return the name of a revision that is yet to be made."""
    text = json.dumps(declared(wanted), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def revision_name(wanted: Wanted, deployments: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name of the wanted revision, given the live Deployments by revision.

    One that has served is the wanted one whatever its deadline. Version 0.1.0 named revisions by the hash of their
    template: such a Deployment is the wanted one where its template says the same of what was declared, and keeps its name.
    """
    name = revision_hash(wanted)
    if name in deployments:
        return name
    same = [
        (live["metadata"]["creationTimestamp"], revision)
        for revision, live in deployments.items()
        if _made_of(wanted, revision, live)
    ]
    return max(same, default=("", name))[1]


def _made_of(wanted: Wanted, revision: str, live: Mapping[str, Any]) -> bool:
    made_with = record_of(live)
    notes = notes_of(live)
    if SERVED_ANNOTATION in notes and FAILED_ANNOTATION not in notes:
        wanted = _with_deadline(wanted, (made_with or live)["spec"].get("progressDeadlineSeconds"))
    if made_with is not None:
        return revision == revision_hash(wanted)
    return knew(declared(wanted)["spec"]) and says_the_same(live["spec"]["template"], template(wanted))


def _with_deadline(wanted: Wanted, seconds: Any) -> Wanted:
    rollout = wanted.spec.rollout.model_copy(update={"progress_deadline_seconds": seconds})
    return replace(wanted, spec=wanted.spec.model_copy(update={"rollout": rollout}))
