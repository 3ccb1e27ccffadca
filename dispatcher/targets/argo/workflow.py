"""What a workflow of Argo tells about the nodes that an event was meant for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
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


class _ValueFrom(Struct, frozen=True):
    supplied: dict[str, object] | None = None


class _Parameter(Struct, frozen=True, rename="camel"):
    name: str
    value: object = None
    value_from: _ValueFrom | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether it has no value yet, and takes one."""
        return self.value_from is not None and self.value_from.supplied is not None

    @property
    def text(self) -> str:
        return "" if self.value is None else str(self.value)


class _Parameters(Struct, frozen=True):
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
    inputs: _Parameters | None = None
    outputs: _Parameters | None = None


class _Status(Struct, frozen=True):
    phase: str = ""
    nodes: dict[str, _Node] = {}


class _Metadata(Struct, frozen=True):
    name: str = ""


class Workflow(Struct, frozen=True):
    """A workflow as far as it is looked at. In the response to an action nodes may be missing, when there are many."""

    metadata: _Metadata = _Metadata()
    status: _Status = _Status()

    @property
    def is_empty(self) -> bool:
        """Whether it is some other JSON object, or an excerpt in which there is nothing."""
        return not (self.metadata.name or self.status.phase or self.status.nodes)


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


def find(
    workflow: Workflow, selector: Selector, action: Action, outputs: Mapping[str, str] = MappingProxyType({})
) -> Finding:
    """Tell "carried out already" from "not suspended yet" and "never suspended"."""
    phase = workflow.status.phase or "Pending"
    phases = {node.phase for node in _fitting(workflow, selector)}
    if "Running" in phases:
        return Finding("the node was suspended only after that", soon=True)
    if phases & _AFTER[action]:
        word = "resumed" if action == "resume" else "stopped"
        text = f"already {word}: the suspended node is {min(phases & _AFTER[action])}"
        unset = missing_outputs(workflow, selector, outputs, "Succeeded")
        return Finding(f"{text}, without the output {unset[0]}" if unset else text, done=True)
    if phases & _ENDED:
        return Finding(
            f"the suspended node is {min(phases & _ENDED)} already: it is too late to {action} it", final=True
        )
    if phase in _ENDED:
        return Finding(
            f"the workflow is {phase} and was never suspended at a node with {selector.text}", final=True
        )
    return Finding(f"the workflow is {phase} and not suspended at a node with {selector.text}")


def is_waiting(workflow: Workflow, selector: Selector) -> bool:
    """Whether a node is suspended that an action should have ended."""
    return any(True for _ in _fitting(workflow, selector, "Running"))


def missing_outputs(
    workflow: Workflow, selector: Selector, outputs: Mapping[str, str], phase: str = "Running"
) -> list[str]:
    """The names of the outputs that a node in this phase does not have with these values."""
    return [
        name
        for node in _fitting(workflow, selector, phase)
        for name, value in outputs.items()
        if (found := _output(node, name)) is None or found.is_awaited or found.text != value
    ]


def find_outputs(workflow: Workflow, selector: Selector, outputs: Mapping[str, str]) -> Finding:
    """Tell "set before" from "cannot be set", when Argo refused to set outputs of suspended nodes."""
    for node in _fitting(workflow, selector, "Running"):
        for name, value in outputs.items():
            found = _output(node, name)
            if found is None:
                return Finding(f"the node has no output parameter {name} with valueFrom.supplied", final=True)
            if not found.is_awaited and found.text != value:
                return Finding(
                    f"the output {name} has another value already: {found.text[:80]!r}", final=True
                )
    if unset := missing_outputs(workflow, selector, outputs):
        return Finding(f"the output {unset[0]} is not set")
    if is_waiting(workflow, selector):
        return Finding("the outputs were set before", done=True)
    return find(workflow, selector, "resume", outputs)


def _output(node: _Node, name: str) -> _Parameter | None:
    parameters = () if node.outputs is None else node.outputs.parameters
    return next((parameter for parameter in parameters if parameter.name == name), None)


def _fitting(workflow: Workflow, selector: Selector, phase: str | None = None) -> Iterator[_Node]:
    return (
        node
        for node in workflow.status.nodes.values()
        if phase in (None, node.phase) and _fits(node, selector.conditions)
    )


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
            fields[f"inputs.parameters.{parameter.name}.value"] = parameter.text
    return fields
