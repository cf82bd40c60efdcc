"""Pools with ceil_mode where ONNX Runtime and ONNX's shape inference disagree on the number of windows.

The runtime leaves out a last window that would start behind the input and its padding; ONNX infers one window more.
Written without the end of the input that no other window reads, so that both count the same windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder


def without_ceiled_window(
    op: OpBuilder, node: ir.Node, x: Sequence[int | None], y: Sequence[int | None]
) -> bool:
    """Takes what no window reads off the end of the axes where one window too many is inferred: padding, then input."""
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    kernel, auto_pad = attributes.get("kernel_shape", []), attributes.get("auto_pad", "NOTSET")
    rank = len(kernel)
    if not attributes.get("ceil_mode") or len(x) != rank + 2 or auto_pad not in ("NOTSET", "VALID"):
        return False
    pads = [0] * (2 * rank) if auto_pad == "VALID" else list(attributes.get("pads") or [0] * (2 * rank))
    strides, dilations = (attributes.get(key) or [1] * rank for key in ("strides", "dilations"))
    sizes: dict[int, int] = {}
    for axis in range(rank):
        size, stride, begin, end = x[2 + axis], strides[axis], pads[axis], pads[rank + axis]
        if size is None:
            continue
        room = size + begin + end - dilations[axis] * (kernel[axis] - 1) - 1
        last = -(-room // stride)
        if last * stride >= size + begin and y[2 + axis] == last + 1:
            unread = room % stride
            pads[rank + axis] = max(end - unread, 0)
            sizes[2 + axis] = size - max(unread - end, 0)
    cut = {axis: size for axis, size in sizes.items() if size != x[axis]}
    if not sizes or (cut and len(node.outputs) > 1):  # positions that MaxPool gives count in the whole image
        return False
    if cut:
        node.replace_input_with(0, op.Slice(node.inputs[0], [0] * len(cut), [*cut.values()], [*cut]))
    node.attributes.pop("auto_pad", None)
    node.attributes["pads"] = ir.AttrInt64s("pads", pads)
    return True
