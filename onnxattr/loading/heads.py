"""What an output is: probabilities behind a softmax or sigmoid, or the one unit of a binary classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_ir as ir

from onnxattr.autodiff.paths import reachable
from onnxattr.graph.values import LAYOUTS, dims_of, numbers_of, shape_text
from onnxattr.loading.layers import Layer

#: What the only unit of an output gives: the probability of class 1, its logit, or a number that is no class at all.
PROBABILITY, LOGIT, NUMBER = "probability", "logit", "number"
#: Values that differ only by moving or rounding data, so that the score's kind can be seen through them.
_TRANSPARENT = LAYOUTS | {"Cast", "QuantizeLinear", "DequantizeLinear"}


def probability_head(graph: ir.Graph, output: ir.Value) -> str | None:
    """The name of the logits, if the output is a softmax or sigmoid of them; None otherwise."""
    node = _head(graph, output)
    return str(node.inputs[0].name) if node is not None and node.inputs[0] is not None else None


def logits_of(graph: ir.Graph, output: ir.Value, layers: Sequence[Layer]) -> str | None:
    """What the logits of a softmax or sigmoid are called: by their layer, where the table has one; None otherwise.

    A classifier's scores are a layer, too, where the graph computes them a second time for it.
    """
    logits = probability_head(graph, output)
    if logits is None:
        return None
    named = [layer for layer in layers if logits in layer.outputs]
    named = named or [layer for layer in layers if layer.class_name == "Scores"][-1:]
    return named[0].path if named else logits


def told_of_counting(
    graph: ir.Graph, layers: Sequence[Layer], output_layer: str | int | None, found: ir.Value
) -> str:
    """What the layer before the last is where the last one holds the softmax or sigmoid; empty elsewhere.

    Where the softmax is a layer of its own, -2 is the way to ask for the logits.

    Args:
        graph: The whole model.
        layers: The layer table.
        output_layer: What the user asked for.
        found: The value of that name or index.
    """
    head = _head(graph, graph.outputs[0]) if str(output_layer) == "-2" and len(graph.outputs) == 1 else None
    if head is None or found in _views(head.inputs[0]):
        return ""
    layer = next((layer.path for layer in reversed(layers) if found.name in layer.outputs), found.name)
    return (
        f"output_layer=-2 is {layer!r}, of the shape {shape_text(dims_of(found))}, and not the logits: the last layer "
        f"holds its {head.op_type} itself. Labels, and the predicted class, are places among these values. To explain "
        f"the logits, pass output_layer={logits_of(graph, graph.outputs[0], layers)!r}."
    )


def unit_of(
    graph: ir.Graph, output: ir.Value, layers: Sequence[Layer], operator: str | None = None
) -> str | None:
    """What the explained output is if it has one number for each row, (N,) or (N, 1), and is known to be; else None.

    Behind a sigmoid it is the probability of class 1; the value that such an output is the sigmoid of is its logit, as
    is the only score of a scikit-learn classifier. Of other numbers ``operator`` tells.

    Args:
        graph: The whole model, all of its outputs included.
        output: The explained value.
        layers: The layer table.
        operator: "classification" for a logit, "regression" for a number, whatever the graph looks like.
    """
    dims = dims_of(output)
    if dims is None or not (len(dims) == 1 or (len(dims) == 2 and dims[1] == 1)):
        return None
    if operator == "regression":
        return NUMBER
    head = _head(graph, output)
    if head is not None:
        return PROBABILITY if head.op_type == "Sigmoid" else None
    heads = (_head(graph, other) for other in graph.outputs)
    behind = any(h is not None and h.op_type == "Sigmoid" and output in _views(h.inputs[0]) for h in heads)
    # The scikit-learn converter's name for what a classifier makes its classes of.
    scores = any(layer.class_name == "Scores" and output.name in layer.outputs for layer in layers)
    return LOGIT if behind or scores or operator == "classification" else None


def gives_logits(graph: ir.Graph, value: ir.Value) -> bool:
    """Whether one of a graph's outputs is the softmax of a value, which so are logits."""
    heads = (_head(graph, output) for output in graph.outputs if output is not value)
    return any(
        head is not None and head.op_type == "Softmax" and value in _views(head.inputs[0]) for head in heads
    )


def is_binary(unit: str | None) -> bool:
    """Whether label 1 stands for the unit and label 0 for its negative."""
    return unit in (PROBABILITY, LOGIT)


def threshold(unit: str | None) -> float:
    """The value of a unit of a binary classifier above which it predicts class 1."""
    return 0.5 if unit == PROBABILITY else 0.0


def _head(graph: ir.Graph, output: ir.Value) -> ir.Node | None:
    """The softmax or sigmoid that an output is, but for the way it is laid out; of 1 - p beside p that of p."""
    nodes = list(graph)
    places = {node: place for place, node in enumerate(nodes)}
    node = output.producer()
    while node is not None and node.inputs and (x := node.inputs[0]) is not None:
        if node.op_type in ("Softmax", "Sigmoid"):
            return node
        producer = x.producer()
        # Probabilities divided by their own sum, as skl2onnx writes them, are still those.
        between = nodes[places.get(producer, -1) + 1 : places.get(node)] if node.op_type == "Div" else []  # type: ignore[arg-type]
        divided = node.op_type == "Div" and node.inputs[1] in reachable(between, [x])
        if node.op_type == "Concat":
            node = _unit_beside_rest(node)
        else:
            node = producer if node.op_type in _TRANSPARENT or divided else None
    return None


def _unit_beside_rest(node: ir.Node) -> ir.Node | None:
    """The sigmoid p where a Concat puts 1 - p and p side by side, as the probabilities of the classes 0 and 1."""
    dims = dims_of(node.outputs[0])
    if len(node.inputs) != 2 or dims is None or dims[node.attributes.get_int("axis", 0)] != 2:
        return None
    *_, rest = _views(node.inputs[0])
    views = [*_views(node.inputs[1])]
    made, head = rest.producer(), views[-1].producer()
    if (
        made is None
        or made.op_type != "Sub"
        or made.inputs[1] not in views
        or (one := made.inputs[0]) is None
    ):
        return None
    ones = one.const_value is not None and numbers_of(one) == [1.0]
    return head if ones and head is not None and head.op_type == "Sigmoid" else None


def _views(value: ir.Value | None) -> Iterator[ir.Value]:
    """A value and those that it only lays out otherwise."""
    while value is not None:
        yield value
        node = value.producer()
        value = node.inputs[0] if node is not None and node.op_type in _TRANSPARENT else None
