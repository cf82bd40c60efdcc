"""Pools with ceil_mode where ONNX Runtime and ONNX's shape inference disagree on the number of windows.

The runtime leaves out a last window that would start behind the input and its padding; ONNX infers one window more.
Written without the end of the input that no other window reads, so that both count the same windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.windows import layout_of


def without_ceiled_window(
    op: OpBuilder, node: ir.Node, x: Sequence[int | None], y: Sequence[int | None]
) -> bool:
    """Takes what no window reads off the end of the axes where one window too many is inferred: padding, then input."""
    layout = layout_of({name: attribute.value for name, attribute in node.attributes.items()})
    rank = layout.rank
    if not layout.ceil_mode or len(x) != rank + 2 or layout.auto_pad not in ("NOTSET", "VALID"):
        return False
    pads = list(layout.pads)
    sizes: dict[int, int] = {}
    for axis, (size, stride) in enumerate(zip(x[2:], layout.strides, strict=True)):
        if size is None:
            continue
        room, end = layout.room(axis, size), pads[rank + axis]
        last = -(-room // stride)
        if last * stride >= size + pads[axis] and y[2 + axis] == last + 1:
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
