"""What goes between an engine and the processes that build plans for it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from segrt._messages import Message
from segrt.cuda.graph_specs import GraphSpec, PlanId
from segrt.cuda.views import View
from segrt.types import Precision


def request(plan: PlanId) -> Message:
    """Return what asks for a plan."""
    return Message(asdict(plan))


def requested(message: Message) -> PlanId:
    """Return which plan is asked for."""
    spec = dict(message.fields["spec"])
    for name in ("kernel", "before", "after", "stride", "dilation", "word"):
        spec[name] = tuple(spec[name])
    spec["views"] = tuple(map(_view, spec["views"]))
    spec["precision"] = Precision(spec["precision"])
    return PlanId(**{**message.fields, "spec": GraphSpec(**spec)})


def _view(fields: dict[str, Any]) -> View:
    shape = fields["shape"]
    return View(**{**fields, "shape": None if shape is None else tuple(shape)})


def answer(written: bytes, problem: str) -> Message:
    """Return a plan, or why there is none, as a message."""
    return Message({"problem": problem}, [written])


def answered(message: Message) -> tuple[bytes, str]:
    """Return a plan, empty if there is none, and why there is none."""
    return message.pieces[0], message.fields["problem"]
