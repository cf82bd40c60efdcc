"""Operators of old opsets that onnx's converter changes or refuses, written so that it does neither.

``before_conversion`` runs on the old model, ``after_conversion`` on the converted one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.registry import attributes_of
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import graphs_of, is_standard, nodes_of
from onnxattr.loading.passes.experimental_operators import EXPERIMENTAL, HIDDEN, SINCE, Write
from onnxattr.loading.passes.replay import Results, replay
from onnxattr.loading.shapes.infer import infer_shapes


def hide_experimental(model: ir.Model) -> bool:
    """Writes out what ONNX Runtime has and ONNX lacks or has given up; before opset 10 some are hidden.

    Args:
        model: The model, of any opset; changed in place.

    Returns:
        Whether there was one.
    """
    opset = model.opset_imports[""]
    writers = EXPERIMENTAL if opset < 10 else _GIVEN_UP if 18 <= opset < 21 else {}
    in_functions = opset >= 18 and _hide_in_functions(model, writers)
    if not any(is_standard(node, *writers) for node in nodes_of(model.graph)):
        return in_functions
    _replace(model, opset, writers)
    if any(node.domain == HIDDEN for node in nodes_of(model.graph)):
        model.opset_imports[HIDDEN] = 1
    return True


def _hide_in_functions(model: ir.Model, writers: dict[str, Write]) -> bool:
    """Hides operators inside functions from onnx's checker: their attributes may be those of a call."""
    found = [
        (function, node)
        for function in model.functions.values()
        for node in nodes_of(function.graph)
        if is_standard(node, *writers)
    ]
    for function, node in found:
        node.domain = HIDDEN
        function.opset_imports[HIDDEN] = model.opset_imports[HIDDEN] = 1
    return bool(found)


def write_out_hidden(model: ir.Model) -> bool:
    """Writes out what was hidden inside functions, once they stand where they were called; whether there was any."""
    opset = model.opset_imports[""]
    if opset < 18 or model.opset_imports.pop(HIDDEN, None) is None:
        return False
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        for node in nodes_of(graph):
            node.domain = "" if node.domain == HIDDEN else node.domain
    for function in model.functions.values():
        function.opset_imports.pop(HIDDEN, None)
    infer_shapes(model, strict=False)  # what is written depends on the type
    _replace(model, opset, _GIVEN_UP)
    return True


def before_conversion(model: ir.Model) -> bool:
    """Writes out what the converter would change or refuse in a model of an opset below 13, in place.

    Returns:
        Whether there was an operator that may have to be written out.
    """
    opset = model.opset_imports[""]
    chosen = {op: write for op, oldest, newest, write in _BEFORE if oldest <= opset <= newest}
    found = any(is_standard(node, *chosen) for node in nodes_of(model.graph))
    if found:
        _replace(model, opset, chosen)
    return found


def after_conversion(model: ir.Model, opset: int, upsampled: set[str | None]) -> None:
    """Mends a converted model, in place.

    Args:
        model: The model, of opset 18.
        opset: The opset that it had.
        upsampled: Names of the outputs of its Upsamples.
    """
    if opset >= 11:
        return
    for node in nodes_of(model.graph):
        if node.domain == HIDDEN:
            node.domain, node.op_type = "", SINCE.get(node.op_type, node.op_type)
        for index in _NUMBERS.get(node.op_type, ()) if is_standard(node, node.op_type) else ():
            _type_number(node, index)
    model.opset_imports.pop(HIDDEN, None)
    if any(is_standard(node, "Resize") for node in nodes_of(model.graph)):
        _replace(
            model,
            model.opset_imports[""],
            {"Resize": lambda op, node: _sampled_as_before(op, node, node.outputs[0].name in upsampled)},
        )


#: Operands that were attributes before opset 11, numbers of float32 whatever the type of the others.
_NUMBERS = {"Clip": (1, 2), "Pad": (2,)}


def _type_number(node: ir.Node, index: int) -> None:
    """Gives a number that onnx's converter made of an attribute the type of what the node reads."""
    number = node.inputs[index] if index < len(node.inputs) else None
    constant = None if number is None else number.producer()
    dtype = next(
        (v.dtype for v in (node.inputs[0], *node.outputs) if v is not None and v.dtype is not None), None
    )
    if number is None or constant is None or dtype in (None, ir.DataType.FLOAT):
        return
    array = constant.attributes["value"].as_tensor().numpy().astype(dtype.numpy())
    constant.attributes["value"] = ir.AttrTensor("value", ir.tensor(array, dtype=dtype))
    number.dtype = dtype


def _replace(model: ir.Model, opset: int, writers: dict[str, Write]) -> None:
    """Writes operators of ai.onnx out, in a graph and those inside it."""
    op = OpBuilder(model.graph, opset, prefix="")

    def write(inner: OpBuilder, node: ir.Node) -> Results:
        if not is_standard(node, *writers):
            return None
        inner.prefix = node.name or node.outputs[0].name or node.op_type
        return writers[node.op_type](inner, node)

    for graph in list(graphs_of(model.graph)):
        replay(op.inside(graph), write)


def _group_normalization(op: OpBuilder, node: ir.Node) -> Results:
    """Below opset 21 scale and bias were those of groups, not of channels."""
    x, scale, shift = (value for value in node.inputs if value is not None)
    given = attributes_of(node)
    groups, epsilon = op.Reshape(x, np.array([0, given["num_groups"], -1])), given.get("epsilon", 1e-5)
    given_types = [*node.inputs, *map(ir.convenience.get_const_tensor, (scale, shift))]
    # ONNX Runtime has no InstanceNormalization of float64.
    if any(found is not None and found.dtype == ir.DataType.DOUBLE for found in given_types):
        result = _instances_in_float64(op, groups, scale, shift, epsilon)
    else:
        result = op.node("InstanceNormalization", [groups, scale, shift], {"epsilon": epsilon})
    return [op.Reshape(_named_as(node, result), op.Shape(x))]


def _instances_in_float64(
    op: OpBuilder, x: ir.Value, scale: ir.Value, shift: ir.Value, epsilon: float
) -> ir.Value:
    """InstanceNormalization of (N, C, length) in elementwise operators."""
    centred = op.Sub(x, op.ReduceMean(x, [2]))
    variance = op.ReduceMean(op.Mul(centred, centred), [2])
    deviation = op.Sqrt(op.Add(variance, op.constant(epsilon, ir.DataType.DOUBLE)))
    scaled = op.Mul(op.Div(centred, deviation), op.Reshape(scale, [-1, 1]))
    result: ir.Value = op.Add(scaled, op.Reshape(shift, [-1, 1]))
    return result


_GIVEN_UP: dict[str, Write] = {"GroupNormalization": _group_normalization}


def _row_operator(op: OpBuilder, node: ir.Node) -> Results:
    """A Softmax or LogSoftmax that a body reads: onnx's converter fails where it puts a Reshape behind it."""
    readers = [reader for reader, _ in node.outputs[0].uses()]
    return _of_rows(op, node) if any(reader.graph is not node.graph for reader in readers) else None


def _of_rows(op: OpBuilder, node: ir.Node) -> Results:
    """Of the rows of a matrix, as which Softmax and its kin saw all tensors before opset 13."""
    x, axis = node.inputs[0], attributes_of(node).get("axis", 1)
    rows = op.node(node.op_type, [op.Flatten(x, axis=axis)], {"axis": 1})
    return [op.Reshape(_named_as(node, rows), op.Shape(x))]


def _named_as(node: ir.Node, value: ir.Value) -> ir.Value:
    """A value whose node takes the name of another, that layer tables may hold."""
    made = value.producer()
    if made is not None:
        made.name, node.name = node.name, None
    return value


def _pad(op: OpBuilder, node: ir.Node) -> None:
    """Without the value that only padding with a constant uses."""
    if attributes_of(node).get("mode", "constant") != "constant":
        node.attributes.pop("value", None)


def _dropout(op: OpBuilder, node: ir.Node) -> Results:
    """ONNX Runtime's mask of an inference was zeros before opset 12; it is ones since."""
    if len(node.outputs) < 2 or not node.outputs[1].name:
        return None
    x = node.inputs[0]
    return [_named_as(node, op.node("Dropout", [x], attributes_of(node))), op.Greater(x, x)]


def _float_dropout(op: OpBuilder, node: ir.Node) -> Results:
    """Before opset 10 the mask was of x's type."""
    results = _dropout(op, node)
    return results and [results[0], op.Cast(results[1], to=ir.DataType.FLOAT.value)]


def _batch_normalization(op: OpBuilder, node: ir.Node) -> Results:
    """With statistics of each element: y = (x - mean) / sqrt(variance + epsilon) * scale + shift."""
    given = attributes_of(node)
    if given.get("spatial", 1) or len([value for value in node.outputs if value.name]) > 1:
        return None
    x, scale, shift, mean, variance = node.inputs
    deviation = op.Sqrt(op.Add(variance, given.get("epsilon", 1e-5)))
    return [op.Add(op.Mul(op.Div(op.Sub(x, mean), deviation), scale), shift)]


def _sampled_as_before(op: OpBuilder, node: ir.Node, upsampled: bool) -> Results:
    """Before opset 11 Resize and Upsample sampled at x / scale, the nearest above along axes that shrink, else below.

    A Resize that does both becomes two, the one that shrinks first.
    """
    settings: dict[str, Any] = attributes_of(node) | {"coordinate_transformation_mode": "asymmetric"}
    x, scales = node.inputs[0], node.inputs[2]

    def resize(x: ir.Value | None, scales: ir.Value | np.ndarray | None, nearest_mode: str) -> ir.Value:
        return op.node("Resize", [x, None, scales], settings | {"nearest_mode": nearest_mode})

    if settings.get("mode", "nearest") != "nearest" or upsampled:
        return [_named_as(node, resize(x, scales, "floor"))]
    constant = ir.convenience.get_const_tensor(scales) if scales is not None else None
    if constant is None:
        less, more = op.Min(scales, np.ones(1, np.float32)), op.Max(scales, np.ones(1, np.float32))
        return [resize(_named_as(node, resize(x, less, "ceil")), more, "floor")]
    factors = constant.numpy().astype(np.float32)
    shrinks, grows = (factors < 1).any(), (factors > 1).any()
    if not (shrinks and grows):
        return [_named_as(node, resize(x, scales, "ceil" if shrinks else "floor"))]
    one = np.float32(1)
    shrunk = resize(x, np.minimum(factors, one), "ceil")
    return [resize(_named_as(node, shrunk), np.maximum(factors, one), "floor")]


#: The opsets with an old meaning, and what writes it in operators whose meaning stays.
_BEFORE: list[tuple[str, int, int, Write]] = [
    ("BatchNormalization", 7, 8, _batch_normalization),
    ("Dropout", 7, 9, _float_dropout),
    ("Dropout", 10, 11, _dropout),
    ("Hardmax", 7, 12, _of_rows),
    ("LogSoftmax", 7, 12, _row_operator),
    ("Pad", 7, 10, _pad),
    ("Softmax", 7, 12, _row_operator),
]
