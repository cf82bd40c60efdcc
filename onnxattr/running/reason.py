"""Says why a row's result is not finite: the node that gave the first NaN or infinity, and what to try."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import onnx
import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of, needed_nodes
from onnxattr.autodiff.registry import op_name
from onnxattr.compile.renderings.scored import OPERATOR
from onnxattr.errors import OnnxAttrError
from onnxattr.graph.intervals import HALVES
from onnxattr.loading.heads import logits_of, probability_head
from onnxattr.loading.prepared import Prepared
from onnxattr.running.driver import Driver
from onnxattr.running.finite import Case
from onnxattr.running.given.targets import label_weights
from onnxattr.running.origin import (
    Origin,
    first_origin,
    origin_in_gradient,
    origin_in_prediction,
    origin_in_score,
)

_GUARD = (
    "a guard in the model: by Where, choose a number that the operation is finite for before it, and the other result "
    "behind it"
)


def reason(driver: Driver, case: Case) -> str:
    """Which node of a method's graphs gave the first NaN or infinity of a row, and what to try."""
    try:
        origin = _origin(driver, case)
    except (OnnxAttrError, ValueError, IndexError) as error:
        return f"Their origin could not be found: {error}"
    prepared, method = driver.request.prepared, driver.request.method
    tries, point = [], ""
    if origin is not None and origin.point is not None:
        point = f", at point {origin.point + 1} of {method.points}"
        tries += ["another baseline_value"] * (method.alphas is not None) + ["less noise"] * (
            method.noise > 0
        )
    return _told(prepared, origin, case, point, tries)


def reason_in_file(
    prepared: Prepared, proto: onnx.ModelProto, case: Case, providers: Sequence[Any] | None
) -> str:
    """The same for an exported explainer, whose graph is that of the method.

    Args:
        prepared: The explainer's graph; its output is the prediction, its last outputs the attributions.
        proto: The explainer.
        case: All of its inputs for the row.
        providers: ONNX Runtime execution providers.
    """
    graph = prepared.model.graph
    outputs = [str(value.name) for value in graph.outputs]
    copied = onnx.ModelProto()
    copied.CopyFrom(proto)
    try:
        origin = first_origin(graph, copied, outputs, case.feeds, providers, prepared.folder)
    except (OnnxAttrError, ValueError, IndexError) as error:
        return f"Their origin could not be found: {error}"
    return _told(prepared, origin, case, "", [])


def _origin(driver: Driver, case: Case) -> Origin | None:
    targets = case.targets
    if case.in_prediction or targets is None:
        return origin_in_prediction(driver, case.feeds)
    weights = targets.weights
    if weights is None:
        assert targets.labels is not None
        weights = label_weights(driver.request.prepared, targets.labels, driver.predict(case.feeds, 1))
    if case.in_score:
        return origin_in_score(driver, case.feeds, weights)
    return origin_in_gradient(driver, case.feeds, weights, case.row)


def _told(prepared: Prepared, origin: Origin | None, case: Case, point: str, tries: list[str]) -> str:
    if origin is None and case.in_score:
        return (
            "It comes from an infinity that the operator or the model holds. Attributions are of the score's gradient, "
            "which is finite; the score itself tells nothing."
        )
    if origin is None:
        return (
            "All values of the model and of its gradient are finite; the last step of the method leaves the range of "
            "float32. Scale the inputs."
        )
    if any(value.dtype in HALVES for value in origin.node.outputs):
        tries.append("precision='float32', as half precision ends at 65504")
    logits = probability_head(prepared.model.graph, prepared.value(prepared.output))
    if logits is not None and not _before(prepared, origin, logits):
        named = logits_of(prepared.model.graph, prepared.value(prepared.output), prepared.layers)
        tries.append(f"output_layer={named!r}, the logits")
    tries.append(_GUARD)
    if origin.masked:
        tries.append("a large finite number in a mask instead of infinity")
    return (
        f"The first {origin.found} in sample {case.row} is {_place(prepared, origin)}{point}. "
        f"Try {'; or '.join(tries)}; or leave such samples out. check_finite='error' or 'ignore' changes what happens."
    )


def _place(prepared: Prepared, origin: Origin) -> str:
    """The node, its layer and its value, or the node whose gradient it is a part of."""
    node, nodes = origin.node, prepared.model.graph
    about = next((n for n in nodes if n.name and n.name == origin.gradient_of), None)
    if OPERATOR in node.meta:
        return f"in the {op_name(node)} of the operator {node.meta[OPERATOR]}"
    if about is None and node.name:
        return f"value {origin.value!r} of the {op_name(node)} node {node.name!r}{_layer(prepared, node)}"
    if about is not None:
        layer = _layer(prepared, about)
        return f"in the gradient of the {op_name(about)} node {about.name!r}{layer}, in its {op_name(node)}"
    if node.op_type == "Loop":
        return "inside the loop over the points; explain() of the method itself tells the node"
    near = _named_before(node)
    behind = f" behind the {op_name(near)} node {near.name!r}{_layer(prepared, near)}" if near else ""
    return f"in the gradient, in its {op_name(node)}{behind}"


def _before(prepared: Prepared, origin: Origin, name: str) -> bool:
    """Whether the origin, or the node whose gradient it is in, is among the nodes that compute a value."""
    names = {node.name for node in needed_nodes([prepared.value(name)])}
    return (origin.gradient_of or origin.node.name) in names


def _layer(prepared: Prepared, node: ir.Node) -> str:
    """The layer of the layer table that a node is in: the one whose output is the first behind it."""
    paths = {output: layer.path for layer in prepared.layers for output in layer.outputs}
    behind = _around(node, lambda n: [user for value in n.outputs for user in value.consumers()])
    for found in behind if paths else ():
        path = next((paths[str(value.name)] for value in found.outputs if value.name in paths), None)
        if path is not None:
            return f" (layer {path!r})"
    return ""


def _named_before(node: ir.Node) -> ir.Node | None:
    """The nearest node before another that has a name: those of the model have, in an exported file."""
    sources = _around(node, lambda n: [v.producer() for v in inputs_of(n) if v.producer() is not None])
    return next((found for found in sources if found.name), None)


def _around(node: ir.Node, neighbours: Any) -> Any:
    """A node and those that are reached from it, the nearest first."""
    waiting, seen = deque([node]), {node}
    while waiting:
        found = waiting.popleft()
        yield found
        fresh = dict.fromkeys(other for other in neighbours(found) if other not in seen)
        seen.update(fresh)
        waiting.extend(fresh)
