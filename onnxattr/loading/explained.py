"""The values of a model that are explained: its float inputs, or those that a caller names."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.autodiff.node import op_name
from onnxattr.autodiff.paths import reaching
from onnxattr.autodiff.refused import reasons
from onnxattr.autodiff.registry import RuleTable
from onnxattr.errors import ModelError, ShapeError
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of, shape_text
from onnxattr.loading.landmarks import explainable
from onnxattr.loading.layers import Layer
from onnxattr.loading.layouts import put_on_path
from onnxattr.loading.places import Place, check_outside, find_place

_LISTED = 8


def float_inputs(graph: ir.Graph, outputs: Sequence[ir.Value], rules: RuleTable) -> list[Place]:
    """The float inputs that reach a score of some outputs, by a rule table.

    Raises:
        ModelError: If there are none: lists values that can be explained instead.
    """
    reached = _reaching(graph, outputs, rules)
    chosen = [v for v in graph.inputs if v.dtype in FLOATS and dims_of(v) != [] and v in reached]
    if not chosen:
        kinds = ", ".join(f"{v.name} ({v.dtype.name if v.dtype else 'unknown'})" for v in graph.inputs)
        raise ModelError(
            f"No float input reaches the score; the inputs are {kinds}. {_instead(graph, outputs)}"
        )
    return [Place(str(value.name), value) for value in chosen]


def _instead(graph: ir.Graph, outputs: Sequence[ir.Value]) -> str:
    """Why no input is explained, or what can be in its place."""
    trees = reasons({op_name(node) for node in graph if node.op_type.startswith("TreeEnsemble")})
    if trees:
        return trees[0]
    if inner := explainable(graph, outputs[0]):
        return (
            f"Explain a float value inside the model with wrt=<name>, for example one of: {', '.join(inner)}."
        )
    return (
        "No float value inside does either: the score is made by comparisons, counts, roundings or constants, "
        "which have no gradient. Explain another output (output=, output_layer=), or by a method without gradients."
    )


def _reaching(graph: ir.Graph, outputs: Sequence[ir.Value], rules: RuleTable) -> set[ir.Value]:
    return set().union(*(reaching(list(graph), output, rules=rules) for output in outputs))


def find_explained(
    graph: ir.Graph,
    opset: int,
    layers: Sequence[Layer],
    outputs: Sequence[ir.Value],
    wanted: Sequence[str | int],
    rules: RuleTable,
) -> list[Place]:
    """The values that a caller names, as layers, values or nodes; an input's name is always the input.

    Values that the graph computes for a layer in another layout are put on the way to the score, in place.

    Raises:
        ModelError: If one is unknown, inside a subgraph, no float value with rows, or does not reach the score.
        ShapeError: If one has no elements.
    """
    inputs = {value.name: value for value in graph.inputs}
    places: list[Place] = []
    reached, nodes = _reaching(graph, outputs, rules), len(graph)
    for name in wanted:
        known = inputs.get(name) if isinstance(name, str) else None
        place = find_place(graph, layers, name, "wrt") if known is None else Place(str(name), known)
        output = outputs[0]
        for other in outputs:
            _check(graph, place, other)
        on_path = put_on_path(graph, opset, place, layers, reached)
        if len(graph) != nodes:
            reached, nodes = _reaching(graph, outputs, rules), len(graph)
        if not on_path:
            raise ModelError(
                f"The explained output {output.name!r} does not depend on wrt {place.name!r}: no gradient flows from "
                f"there. {_what_does(graph, layers, output)}"
            )
        twin = next((other for other in places if other.value is place.value), None)
        if twin is not None:
            raise ModelError(
                f"wrt {place.name!r} and {twin.name!r} are the same value, {place.value.name!r}: name it once."
            )
        places.append(place)
    return places


def _check(graph: ir.Graph, place: Place, output: ir.Value) -> None:
    value = place.value
    check_outside(graph, value, "wrt")
    if value.dtype not in FLOATS:
        raise ModelError(
            f"wrt {place.name!r} is {value.dtype}; only float values can be explained: "
            f"{explainable(graph, output)}."
        )
    if 0 in (dims_of(value) or [])[1:]:
        raise ShapeError(
            f"wrt {place.name!r} has shape {shape_text(dims_of(value))}: there is no value to explain."
        )
    unfit = _why_unfit(value, output)
    if unfit:
        raise ModelError(
            f"wrt {place.name!r} is {unfit}; expected a float value that depends on the inputs, with samples along its "
            "first axis."
        )


def _why_unfit(value: ir.Value, output: ir.Value) -> str | None:
    if value is output:
        return "the explained output itself"
    if value.const_value is not None:
        return "a weight"
    return "a scalar, without a batch axis" if dims_of(value) == [] else None


def _what_does(graph: ir.Graph, layers: Sequence[Layer], output: ir.Value) -> str:
    """Names of layers, or of values, that a score depends on: the last ones."""
    names = {
        str(value.name) for value in reaching(list(graph), output) - {output} if value.const_value is None
    }
    found = [layer.path for layer in layers if names & set(layer.outputs)]
    made = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    found = found or [str(value.name) for value in made if str(value.name) in names]
    more = "`onnxattr inspect` lists all values."
    return f"It depends on {', '.join(map(repr, found[-_LISTED:]))}; {more}" if found else more
