"""Values that reach a score as integers, so without gradient, and the float values that can be explained instead."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of, reaching
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.operator_kinds import SIZES


def unexplained(graph: ir.Graph, output: ir.Value, wrt: Collection[str] = ()) -> dict[str, list[str]]:
    """What reaches the score as integers, each with the float values that are computed from it first.

    That is an integer input, or the integers that values of a float input are cast to: token ids, category codes. Those
    of which no float value is made, such as lengths or conditions, are not listed.

    Args:
        graph: The model.
        output: The score.
        wrt: Names of the explained values.
    """
    wanted, found = reaching(list(graph), output, wrt) - {output}, {}
    for code in _codes(graph):
        names = [
            str(value.name)
            for value in _first_floats(graph, [code])
            if value in wanted and value.name not in wrt
        ]
        if names:
            found[str(code.name)] = names
    return found


def first_floats(graph: ir.Graph) -> list[ir.Value]:
    """The float values computed first from any integers of a model."""
    return _first_floats(graph, _codes(graph))


def source_of(graph: ir.Graph, names: Collection[str]) -> list[str]:
    """The inputs that some values are computed from."""
    waiting = [value for node in graph for value in node.outputs if value.name in names]
    seen: set[ir.Value] = set()
    while waiting:
        value = waiting.pop()
        node = value.producer()
        if value not in seen and node is not None and node.op_type not in SIZES:
            waiting += inputs_of(node)
        seen.add(value)
    return [str(value.name) for value in graph.inputs if value in seen]


def _codes(graph: ir.Graph) -> list[ir.Value]:
    """The inputs that are not floats, and the integers that values of float inputs are cast to."""
    floats = {value for value in graph.inputs if value.dtype in FLOATS}
    codes = [value for value in graph.inputs if value.dtype not in FLOATS]
    for node in graph:
        if node.op_type in SIZES or not any(value in floats for value in inputs_of(node)):
            continue
        floats.update(value for value in node.outputs if value.dtype in FLOATS)
        dtype = node.outputs[0].dtype
        if node.op_type == "Cast" and dtype is not None and dtype.is_integer():
            codes.append(node.outputs[0])
    return codes


def _first_floats(graph: ir.Graph, codes: Iterable[ir.Value]) -> list[ir.Value]:
    """The float values that are made of codes, by nodes that read no other float value that depends on the inputs."""
    coded, floats = set(codes), {value for value in graph.inputs if value.dtype in FLOATS}
    first: list[ir.Value] = []
    for node in graph:
        sources = inputs_of(node)
        if node.op_type in SIZES or (node.op_type == "Mul" and any(map(_is_zero, sources))):
            continue
        of_floats = any(value in floats for value in sources)
        of_codes = any(value in coded for value in sources)
        for value in node.outputs:
            if value.dtype in FLOATS and (of_floats or of_codes):
                floats.add(value)
                # A condition that chooses among constants is no code.
                first += [value] if of_codes and not of_floats and node.op_type != "Where" else []
            elif of_codes and not of_floats:
                coded.add(value)
    return first


def _is_zero(value: ir.Value) -> bool:
    """Whether a value is a constant of zeros: skl2onnx multiplies by it to make an array of a size."""
    return value.const_value is not None and not np.any(value.const_value.numpy())
