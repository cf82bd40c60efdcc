"""Operators of old opsets that onnx's converter changes or refuses, written so that it does neither.

``before_conversion`` runs on the old model, ``after_conversion`` on the converted one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from onnxattr.graph.subgraphs import Names, bodies_of, graphs_in, is_standard, nodes_in

#: Domain that hides operators from onnx's converter which ONNX Runtime knew before ONNX did.
_HIDDEN = "onnxattr.hidden"
Nodes = list[onnx.NodeProto]


def default_opset(proto: onnx.ModelProto) -> int:
    """The ai.onnx opset of a model; 0 if it imports none."""
    return next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _names_of(graph: onnx.GraphProto) -> Names:
    names = Names(name for node in nodes_in(graph) for name in (*node.input, *node.output))
    for part in graphs_in(graph):
        names.counts.update(value.name for value in (*part.input, *part.output, *part.initializer))
    return names


def hide_experimental(proto: onnx.ModelProto) -> bool:
    """Writes out the operators that ONNX Runtime has before opset 10 and ONNX lacks; ThresholdedRelu is hidden.

    Args:
        proto: The model, of any opset; changed in place.

    Returns:
        Whether there was one.
    """
    if default_opset(proto) >= 10 or not any(is_standard(n, *_EXPERIMENTAL) for n in nodes_in(proto.graph)):
        return False
    names = _names_of(proto.graph)
    for graph in graphs_in(proto.graph):
        _replace(graph, lambda node: _EXPERIMENTAL.get(node.op_type, _stays)(node, names))
    if any(node.domain == _HIDDEN for node in nodes_in(proto.graph)):
        proto.opset_import.append(onnx.helper.make_opsetid(_HIDDEN, 1))
    return True


def before_conversion(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """A copy of a model of an opset below 13 without what the converter would change or refuse."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    names = _names_of(copy.graph)
    chosen = {op: write for op, oldest, newest, write in _BEFORE if oldest <= opset <= newest}
    for graph in graphs_in(copy.graph):
        if opset < 13:
            captured = _captured(graph)
            _replace(graph, lambda node, read=captured: _row_operator(node, names, read))  # type: ignore[misc]
        _replace(graph, lambda node: chosen.get(node.op_type, _stays)(node, names))
    return copy


def _captured(graph: onnx.GraphProto) -> set[str]:
    """The names that the bodies of a graph's nodes read; some may be values of their own."""
    inner = [part for node in graph.node for body in bodies_of(node) for part in graphs_in(body)]
    return {name for part in inner for node in part.node for name in node.input} | {
        value.name for part in inner for value in part.output
    }


def after_conversion(proto: onnx.ModelProto, opset: int, upsampled: set[str]) -> None:
    """Mends a converted model, in place.

    Args:
        proto: The model, of opset 18.
        opset: The opset that it had.
        upsampled: Names of the outputs of its Upsamples.
    """
    if opset >= 11:
        return
    names = _names_of(proto.graph)
    known = {tensor.name: tensor for graph in graphs_in(proto.graph) for tensor in graph.initializer}
    known |= {n.output[0]: n.attribute[0].t for n in nodes_in(proto.graph) if n.op_type == "Constant"}
    for graph in graphs_in(proto.graph):
        for node in graph.node:
            if node.domain == _HIDDEN:
                node.domain = ""
        _replace(
            graph,
            lambda node: (
                _sampled_as_before(node, names, known.get(node.input[2]), node.output[0] in upsampled)
                if node.op_type == "Resize"
                else None
            ),
        )
    imports = [entry for entry in proto.opset_import if entry.domain != _HIDDEN]
    del proto.opset_import[:]
    proto.opset_import.extend(imports)


def _replace(graph: onnx.GraphProto, write: Callable[[onnx.NodeProto], Nodes | None]) -> None:
    nodes: Nodes = []
    for node in graph.node:
        new = write(node) if node.domain in ("", "ai.onnx") else None
        nodes += [node] if new is None else new
    del graph.node[:]
    graph.node.extend(nodes)


def _stays(node: onnx.NodeProto, names: Names) -> None:
    return None


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _constant(names: Names, stem: str, array: np.ndarray) -> onnx.NodeProto:
    name = names.fresh(stem)
    return onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(array, name))


def _chain(node: onnx.NodeProto, names: Names, *steps: tuple[str, Any]) -> Nodes:
    """Elementwise operators one after the other, each with a constant as its second operand or with none."""
    nodes: Nodes = []
    value = node.input[0]
    for position, (op_type, operand) in enumerate(steps):
        output = node.output[0] if position == len(steps) - 1 else names.fresh(f"{node.output[0]}_{op_type}")
        operands = [value]
        if operand is not None:
            nodes.append(_constant(names, f"{output}_constant", np.asarray(operand, np.float32)))
            operands.append(nodes[-1].output[0])
        nodes.append(onnx.helper.make_node(op_type, operands, [output]))
        value = output
    return nodes


def _hidden(node: onnx.NodeProto, names: Names) -> None:
    node.domain = _HIDDEN


def _affine(node: onnx.NodeProto, names: Names) -> Nodes:
    given = _attributes(node)
    return _chain(node, names, ("Mul", given.get("alpha", 1.0)), ("Add", given.get("beta", 0.0)))


def _image_scaler(node: onnx.NodeProto, names: Names) -> Nodes:
    given = _attributes(node)
    bias = np.asarray(given.get("bias", [0.0]), np.float32)[:, None, None]
    return _chain(node, names, ("Mul", given.get("scale", 1.0)), ("Add", bias))


def _scaled(op_type: str) -> Callable[[onnx.NodeProto, Names], Nodes]:
    """y = alpha * f(beta * x)."""

    def write(node: onnx.NodeProto, names: Names) -> Nodes:
        given = _attributes(node)
        steps = (("Mul", given.get("beta", 1.0)), (op_type, None), ("Mul", given.get("alpha", 1.0)))
        return _chain(node, names, *steps)

    return write


_EXPERIMENTAL: dict[str, Callable[[onnx.NodeProto, Names], Nodes | None]] = {
    "ThresholdedRelu": _hidden,
    "Affine": _affine,
    "ImageScaler": _image_scaler,
    "ParametricSoftplus": _scaled("Softplus"),
    "ScaledTanh": _scaled("Tanh"),
    "Scale": lambda node, names: _chain(node, names, ("Mul", _attributes(node).get("scale", 1.0))),
}


def _row_operator(node: onnx.NodeProto, names: Names, captured: set[str]) -> Nodes | None:
    """A Softmax or LogSoftmax that a body reads: onnx's converter fails where it puts a Reshape behind it."""
    softmax = node.op_type in ("Softmax", "LogSoftmax")
    return _of_rows(node, names) if softmax and captured & set(node.output) else None


def _of_rows(node: onnx.NodeProto, names: Names) -> Nodes:
    """Of the rows of a matrix, as which Softmax and its kin saw all tensors before opset 13."""
    x, y = node.input[0], node.output[0]
    shape, flat, rows = (names.fresh(f"{y}_{part}") for part in ("shape", "flat", "rows"))
    axis = _attributes(node).get("axis", 1)
    return [
        onnx.helper.make_node("Shape", [x], [shape]),
        onnx.helper.make_node("Flatten", [x], [flat], axis=axis),
        onnx.helper.make_node(node.op_type, [flat], [rows], node.name, axis=1),
        onnx.helper.make_node("Reshape", [rows, shape], [y]),
    ]


def _pad(node: onnx.NodeProto, names: Names) -> None:
    """Without the value that only padding with a constant uses."""
    for attribute in list(node.attribute):
        if attribute.name == "value" and _attributes(node).get("mode", b"constant") != b"constant":
            node.attribute.remove(attribute)


def _dropout(node: onnx.NodeProto, names: Names) -> Nodes | None:
    """ONNX Runtime's mask of an inference was zeros before opset 12; it is ones since."""
    if len(node.output) < 2 or not node.output[1]:
        return None
    mask, x = node.output.pop(), node.input[0]
    return [node, onnx.helper.make_node("Greater", [x, x], [mask])]


def _float_dropout(node: onnx.NodeProto, names: Names) -> Nodes | None:
    """Before opset 10 the mask was of x's type."""
    nodes = _dropout(node, names)
    if nodes is not None:
        mask = nodes[-1].output[0]
        nodes[-1].output[0] = names.fresh(f"{mask}_bool")
        nodes.append(onnx.helper.make_node("Cast", [nodes[-1].output[0]], [mask], to=TensorProto.FLOAT))
    return nodes


def _batch_normalization(node: onnx.NodeProto, names: Names) -> Nodes | None:
    """With statistics of each element: y = (x - mean) / sqrt(variance + epsilon) * scale + shift."""
    given = _attributes(node)
    if given.get("spatial", 1) or len(node.output) > 1:
        return None
    x, scale, shift, mean, variance = node.input
    y = node.output[0]
    epsilon = _constant(names, f"{y}_epsilon", np.float32(given.get("epsilon", 1e-5)))  # type: ignore[arg-type]
    parts = [names.fresh(f"{y}_{part}") for part in ("centred", "variance", "deviation", "normal", "scaled")]
    centred, larger, deviation, normal, scaled = parts
    return [
        epsilon,
        onnx.helper.make_node("Sub", [x, mean], [centred]),
        onnx.helper.make_node("Add", [variance, epsilon.output[0]], [larger]),
        onnx.helper.make_node("Sqrt", [larger], [deviation]),
        onnx.helper.make_node("Div", [centred, deviation], [normal]),
        onnx.helper.make_node("Mul", [normal, scale], [scaled]),
        onnx.helper.make_node("Add", [scaled, shift], [y]),
    ]


def _sampled_as_before(
    node: onnx.NodeProto, names: Names, scales: onnx.TensorProto | None, upsampled: bool
) -> Nodes | None:
    """Before opset 11 Resize and Upsample sampled at x / scale, the nearest above along axes that shrink, else below.

    A Resize that does both becomes two, the one that shrinks first.
    """
    settings = _attributes(node) | {"coordinate_transformation_mode": "asymmetric"}
    y, stem = node.output[0], node.name or node.output[0]

    def resize(x: str, scales: str, output: str, nearest_mode: str, name: str) -> onnx.NodeProto:
        nearest = {"nearest_mode": nearest_mode}
        return onnx.helper.make_node("Resize", [x, "", scales], [output], name, **settings | nearest)

    if settings.get("mode", b"nearest") != b"nearest" or upsampled:
        return [resize(node.input[0], node.input[2], y, "floor", node.name)]
    between, stem = names.fresh(f"{y}_shrunk"), names.fresh(f"{stem}_then")
    if scales is not None:
        factors = onnx.numpy_helper.to_array(scales).astype(np.float32)
        shrinks, grows = (factors < 1).any(), (factors > 1).any()
        if not (shrinks and grows):
            return [resize(node.input[0], node.input[2], y, "ceil" if shrinks else "floor", node.name)]
        parts = [_constant(names, f"{y}_scales", f(factors, np.float32(1))) for f in (np.minimum, np.maximum)]
    else:
        one = _constant(names, f"{y}_one", np.ones(1, np.float32))
        parts = [one]
        for op_type in ("Min", "Max"):
            operands = [node.input[2], one.output[0]]
            parts.append(onnx.helper.make_node(op_type, operands, [names.fresh(f"{y}_{op_type}")]))
    less, more = (part.output[0] for part in parts[-2:])
    first = resize(node.input[0], less, between, "ceil", node.name)
    return [*parts, first, resize(between, more, y, "floor", stem)]


Write = Callable[[onnx.NodeProto, Names], Nodes | None]
#: The opsets with an old meaning, and what writes it in operators whose meaning stays.
_BEFORE: list[tuple[str, int, int, Write]] = [
    ("BatchNormalization", 7, 8, _batch_normalization),
    ("Dropout", 7, 9, _float_dropout),
    ("Dropout", 10, 11, _dropout),
    ("Hardmax", 7, 12, _of_rows),
    ("Pad", 7, 10, _pad),
]
