"""The operator as a later version may be: it makes other pods, and tells them more.

A program of its own, run in place of `python -m modelgarden`.
"""

from __future__ import annotations

import json
from typing import Any

from modelgarden.api.base import ApiModel
from modelgarden.workloads import podspec

environment, pod_spec = podspec.environment, podspec.pod_spec


def other_environment(config: ApiModel) -> list[dict[str, Any]]:
    """Return the variables with one more field in the configuration, and one more variable."""
    first, *others = environment(config)
    told = {**json.loads(first["value"]), "fieldOfALaterVersion": True}
    return [{**first, "value": json.dumps(told)}, *others, {"name": "LATER_VERSION", "value": "1"}]


def other_pod_spec(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the pod's spec with another grace and one more volume."""
    spec = pod_spec(*args, **kwargs)
    volumes = [*spec["volumes"], {"name": "later-version", "emptyDir": {}}]
    return {**spec, "terminationGracePeriodSeconds": 600, "volumes": volumes}


if __name__ == "__main__":
    for name, other in {"environment": other_environment, "pod_spec": other_pod_spec}.items():
        setattr(podspec, name, other)
    # Only now: who makes pods takes these functions by their names when it is imported.
    from modelgarden.__main__ import main

    main()
