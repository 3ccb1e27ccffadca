"""What a workflow of Argo tells about the nodes that an event was meant for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from dispatcher.targets.argo.selector import Condition, Selector

Action: TypeAlias = Literal["resume", "stop"]

# The phase of a suspended node after each action.
_AFTER: dict[Action, frozenset[str]] = {
    "resume": frozenset({"Succeeded"}),
    "stop": frozenset({"Failed", "Error"}),
}
_ENDED = frozenset({"Succeeded", "Failed", "Error", "Skipped", "Omitted"})


class _Parameter(Struct, frozen=True):
    name: str
    value: object = None


class _Inputs(Struct, frozen=True):
    parameters: tuple[_Parameter, ...] = ()


class _TemplateRef(Struct, frozen=True):
    name: str = ""
    template: str = ""


class _Node(Struct, frozen=True, rename="camel"):
    type: str = ""
    phase: str = ""
    id: str = ""
    name: str = ""
    display_name: str = ""
    template_name: str = ""
    template_ref: _TemplateRef | None = None
    inputs: _Inputs | None = None


class _Status(Struct, frozen=True):
    phase: str = ""
    nodes: dict[str, _Node] = {}


class Workflow(Struct, frozen=True):
    """A workflow as far as it is looked at."""

    status: _Status = _Status()


decode = msgspec.json.Decoder(Workflow).decode
"""The workflow in an answer; raises msgspec.DecodeError when there is none."""


class Finding(Struct, frozen=True):
    """What a look at a workflow says about an action that found nothing to act on.

    `done`: it was carried out before. `final`: it never can be. Neither: it may be later, `soon` at once.
    """

    text: str
    done: bool = False
    final: bool = False
    soon: bool = False


def find(workflow: Workflow, selector: Selector, action: Action) -> Finding:
    """Tell "carried out already" from "not suspended yet" and "never suspended"."""
    phase = workflow.status.phase or "Pending"
    nodes = [node for node in workflow.status.nodes.values() if _fits(node, selector.conditions)]
    phases = {node.phase for node in nodes}
    if "Running" in phases:
        return Finding("the node was suspended only after that", soon=True)
    if phases & _AFTER[action]:
        word = "resumed" if action == "resume" else "stopped"
        return Finding(f"already {word}: the suspended node is {min(phases & _AFTER[action])}", done=True)
    if phases & _ENDED:
        return Finding(
            f"the suspended node is {min(phases & _ENDED)} already: it is too late to {action} it", final=True
        )
    if phase in _ENDED:
        return Finding(
            f"the workflow is {phase} and was never suspended at a node with {selector.text}", final=True
        )
    return Finding(f"the workflow is {phase} and not suspended at a node with {selector.text}")


def _fits(node: _Node, conditions: Sequence[Condition]) -> bool:
    if node.type != "Suspend":
        return False
    fields = _fields(node)
    # The phase is what has changed since.
    return all(
        (fields.get(condition.field, "") == condition.value) is condition.equal
        for condition in conditions
        if condition.field != "phase"
    )


def _fields(node: _Node) -> dict[str, str]:
    fields = {
        "displayName": node.display_name,
        "templateName": node.template_name,
        "name": node.name,
        "id": node.id,
    }
    if node.template_ref is not None:
        reference = node.template_ref
        fields |= {
            "templateName": reference.template,
            "templateRef.name": reference.name,
            "templateRef.template": reference.template,
        }
    if node.inputs is not None:
        for parameter in node.inputs.parameters:
            value = "" if parameter.value is None else str(parameter.value)
            fields[f"inputs.parameters.{parameter.name}.value"] = value
    return fields
