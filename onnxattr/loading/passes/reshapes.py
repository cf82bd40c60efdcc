"""Targets of Reshapes that a model computes from shapes, written down where the shapes decide them.

Exporters let every run compute them. Written down, they need no operators that a GPU lacks, and the sizes behind them
are known: where a run would have to compare two values, the names of their sizes say that they agree.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.sizes import Size, contents, reshaped_sizes
from onnxattr.graph.subgraphs import graphs_of, is_standard, nodes_of, prune
from onnxattr.graph.values import UNKNOWN, dims_of
from onnxattr.loading.shapes.infer import DECLARED_SIZES
from onnxattr.loading.shapes.solved_sizes import SIZE_RULES


def write_targets_down(model: ir.Model, kept: Collection[ir.Value] = ()) -> bool:
    """Names sizes behind Reshapes and writes the targets down that they decide, in place.

    Args:
        model: The model.
        kept: Values that stay where a target was all that they were needed for.

    Returns:
        Whether it did either.
    """
    graph = model.graph
    if model.meta.get(DECLARED_SIZES):
        # What a file states, and its nodes do not show, is not certain enough to compute with.
        return False
    if not any(is_standard(node, "Reshape") and _computed(node.inputs[1]) for node in nodes_of(graph)):
        return False
    named = _name_sizes(graph)
    written, op = False, OpBuilder(graph, model.opset_imports[""], prefix="reshapes")
    for part in list(graphs_of(graph)):
        for node in part:
            target = _target(node) if is_standard(node, "Reshape") else None
            if target is not None:
                node.replace_input_with(1, op.constant(np.array(target, np.int64)))
                node.attributes.pop("allowzero", None)
                written = True
    if written:
        prune(graph, kept)
    return named or written


def _computed(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is None


def _target(node: ir.Node) -> list[int] | None:
    """The integers that say the same as the computed target of a Reshape, whatever the model is fed; None without."""
    given, sizes = dims_of(node.inputs[0]), dims_of(node.outputs[0])
    if not _computed(node.inputs[1]) or given is None or sizes is None or 0 in sizes:
        return None
    if contents(node.inputs[1]) is None:
        return None
    if sum(not isinstance(size, int) for size in sizes) < 2:
        return [size if isinstance(size, int) else -1 for size in sizes]
    copied = [isinstance(size, str) and given[axis : axis + 1] == [size] for axis, size in enumerate(sizes)]
    if all(copy or isinstance(size, int) for copy, size in zip(copied, sizes, strict=True)):
        return [0 if copy else size for copy, size in zip(copied, sizes, strict=True)]  # type: ignore[misc]
    return None


def _name_sizes(graph: ir.Graph) -> bool:
    """Replaces names that equal no other by the sizes that they stand for, in place; whether there were any."""
    given = {dim for part in graphs_of(graph) for value in part.inputs for dim in dims_of(value) or []}
    solved: dict[str, Size] = {}

    for node in nodes_of(graph):
        for value in node.outputs:
            value.meta.pop("sizes", None)
            _rename(value, solved)
        sizes = dims_of(node.outputs[0]) if node.outputs and node.domain in ("", "ai.onnx") else None
        for axis, name in enumerate(sizes or ()):
            if isinstance(name, str) and name.startswith(UNKNOWN) and name not in given:
                found = _size(node, axis)
                if found is not None and found != name:
                    solved[name] = found
        if sizes:
            _rename(node.outputs[0], solved)
    return bool(solved)


def _rename(value: ir.Value, solved: dict[str, Size]) -> None:
    dims = dims_of(value)
    if dims is not None and not solved.keys().isdisjoint(dims):
        value.shape = ir.Shape([solved.get(dim, dim) if isinstance(dim, str) else dim for dim in dims])


def _size(node: ir.Node, axis: int) -> Size | None:
    """The size of an axis of a node's first output, by those of its inputs; None where they do not tell."""
    if node.op_type == "Reshape":
        sizes = reshaped_sizes(node)
        found = None if sizes is None or axis >= len(sizes) else sizes[axis]
        if found is not None:
            return found
    rule, after = SIZE_RULES.get(node.op_type), dims_of(node.outputs[0])
    before = [dims for value in node.inputs if (dims := dims_of(value)) is not None]
    if rule is None or after is None or len(before) < len(node.inputs):
        return None
    return rule(after, axis, before)
