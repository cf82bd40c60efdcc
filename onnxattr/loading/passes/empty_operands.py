"""Operands without elements: constants that add nothing to a Concat, and axes of a Squeeze that are an empty list."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.subgraphs import is_standard, nodes_of


def leave_out_empty(graph: ir.Graph) -> bool:
    """Takes constants without elements off the Concat and Squeeze nodes of a graph and its subgraphs, in place.

    ONNX Runtime passes over what a Concat reads without elements, whatever its other axes are. One of these may be the
    batch of an export, which would be taken for that of every run. A Squeeze takes all axes of one element in ONNX
    Runtime if its axes are an empty list, where ONNX takes none: its result is as large as ONNX Runtime makes it.

    Returns:
        Whether there was such a node.
    """
    changed = False
    for node in nodes_of(graph):
        if is_standard(node, "Concat"):
            kept = [value for value in node.inputs if not _is_empty(value)]
            if kept and len(kept) < len(node.inputs):
                for index, value in enumerate(kept):
                    node.replace_input_with(index, value)
                node.resize_inputs(len(kept))
                changed = True
        elif is_standard(node, "Squeeze") and _has_no_axes(node):
            node.resize_inputs(1)
            node.attributes.pop("axes", None)
            node.outputs[0].shape = None
            changed = True
    return changed


def _has_no_axes(node: ir.Node) -> bool:
    axes = node.attributes.get("axes")  # an attribute before opset 13
    return _is_empty(node.inputs[1]) if len(node.inputs) > 1 else axes is not None and not axes.as_ints()


def _is_empty(value: ir.Value | None) -> bool:
    """Whether a value is an initializer or a Constant without elements."""
    if value is None:
        return False
    node = value.producer()
    if node is None:
        return value.const_value is not None and 0 in value.const_value.shape
    attribute = next(iter(node.attributes.values()), None) if is_standard(node, "Constant") else None
    if attribute is None or attribute.is_ref():
        return False
    return attribute.value.size == 0 if attribute.name == "value" else attribute.value in ((), [])
