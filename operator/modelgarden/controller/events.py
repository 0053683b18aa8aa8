"""Events about an owner: for people, posted when its state is news, best effort."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.messages import clean
from modelgarden.controller.identity import digest, fields, phase
from modelgarden.controller.plan import Event
from modelgarden.controller.times import micro_timestamp
from modelgarden.kube.client import Kube
from modelgarden.kube.errors import Invalid, Retryable
from modelgarden.kube.resources import EVENTS

log = logging.getLogger(__name__)

CONTROLLER_NAME: Final = f"{names.GROUP}/operator"
_NOTE_BYTES: Final = 1024


def is_news(event: Event, before: Mapping[str, Any], status: Mapping[str, Any] | None) -> bool:
    """Tell whether the phase is another one, or the same for another reason."""
    told = {condition["reason"] for condition in before.get("conditions", ())}
    return phase(status) != phase(before) or event.reason not in told


async def post(kube: Kube, owner: Mapping[str, Any], event: Event, now: datetime) -> None:
    """Post an event. It is for people and best effort: a failure is logged, never retried."""
    metadata = owner["metadata"]
    # The state that the event leaves behind is in the name, so that a second try is no second event.
    suffix = digest([metadata["uid"], metadata["resourceVersion"], event.type, event.reason, event.note])
    body = {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"namespace": metadata["namespace"], "name": f"{metadata['name'][:220]}.{suffix}"},
        "eventTime": micro_timestamp(now),
        "type": event.type,
        "reason": event.reason,
        "note": clean(event.note, length=_NOTE_BYTES),
        "action": "Reconcile",
        "reportingController": CONTROLLER_NAME,
        "reportingInstance": socket.gethostname(),
        "regarding": {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
    try:
        await kube.create(body)
    except (Retryable, Invalid) as error:
        log.debug("Event not posted: %s", error, extra=fields(owner))
