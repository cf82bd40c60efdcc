"""Loops whose bodies declare the number of the step with one axis, which ONNX Runtime then gives it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxattr.graph.subgraphs import is_standard, nodes_of, subgraphs_of


def count_in_numbers(graph: ir.Graph) -> bool:
    """Declares counters of shape (1,) as the numbers that ONNX defines, in place; bodies read them through a Reshape.

    Loops that are written for gradients have bodies of their own, in which the declaration would be lost, and the
    axis with it. Conditions keep their axis: what is given to the Loop has it too.
    """
    found = [
        (body, value)
        for node in nodes_of(graph)
        if is_standard(node, "Loop")
        for body in subgraphs_of(node)
        for value in body.inputs[:1]
        if value.shape is not None and len(value.shape) == 1
    ]
    for body, value in found:
        _read_reshaped(body, value)
    return bool(found)


def _read_reshaped(body: ir.Graph, value: ir.Value) -> None:
    one = ir.Node("", "Constant", [], [ir.AttrTensor("value", ir.tensor(np.array([1], np.int64)))])
    reshape = ir.Node("", "Reshape", [None, one.outputs[0]], [])
    one.outputs[0].name, reshape.outputs[0].name = f"{value.name}/one", f"{value.name}/of_one_axis"
    reshape.outputs[0].type, reshape.outputs[0].shape = value.type, value.shape
    value.shape = ir.Shape([])
    value.replace_all_uses_with(reshape.outputs[0], replace_graph_outputs=True)
    reshape.replace_input_with(0, value)
    first = next(iter(body), None)
    if first is None:
        body.extend([one, reshape])
    else:
        body.insert_before(first, [one, reshape])
