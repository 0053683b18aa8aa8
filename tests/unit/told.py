"""What a plan tells and does, as text for people to read."""

from __future__ import annotations

from modelgarden.controller.plan import Plan


def told(plan: Plan) -> str:
    """Return phase, conditions, event, writes and next look, a line each."""
    assert plan.status is not None
    lines = [plan.status["phase"]]
    lines += [
        f"{one['type']}={one['status']} {one['reason']}: {one['message']}"
        for one in plan.status["conditions"]
    ]
    if plan.event is not None:
        lines.append(f"{plan.event.type} event {plan.event.reason}: {plan.event.note}")
    lines += [
        f"apply {one['kind']} {one['metadata']['name']}{_replicas(one['spec'].get('replicas'))}"
        for one in plan.objects
    ]
    lines += [f"delete {resource.kind} {name}" for resource, name in plan.deletes]
    if plan.requeue_after is not None:
        lines.append(f"look again in {plan.requeue_after:g} s")
    return "\n".join(lines)


def _replicas(count: int | None) -> str:
    return "" if count is None else f" with replicas {count}"
