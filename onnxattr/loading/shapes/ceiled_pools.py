"""Pools with ceil_mode where ONNX Runtime and ONNX's shape inference disagree on the number of windows.

The runtime leaves out a last window that would start behind the input and its padding; ONNX infers one window more.
Written without the end of the input that no other window reads, so that both count the same windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx

from onnxattr.loading.shapes.resizes import Constants


def without_ceiled_window(
    node: onnx.NodeProto,
    x: Sequence[int | None],
    y: Sequence[int | None],
    constants: Constants,
    add: Callable[[str, np.ndarray], str],
) -> list[onnx.NodeProto] | None:
    """Takes what no window reads off the end of the axes where one window too many is inferred: padding, then input."""
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    kernel, auto_pad = attributes.get("kernel_shape", []), attributes.pop("auto_pad", b"NOTSET")
    rank = len(kernel)
    if not attributes.get("ceil_mode") or len(x) != rank + 2 or auto_pad not in (b"NOTSET", b"VALID"):
        return None
    pads = [0] * (2 * rank) if auto_pad == b"VALID" else list(attributes.get("pads") or [0] * (2 * rank))
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
    if not sizes or (cut and len(node.output) > 1):  # positions that MaxPool gives count in the whole image
        return None
    operand, stem, nodes = node.input[0], node.name or node.output[0], []
    if cut:
        ranges = ([0] * len(cut), [*cut.values()], [*cut])
        bounds = [add(f"{stem}_read", np.array(numbers, np.int64)) for numbers in ranges]
        nodes = [onnx.helper.make_node("Slice", [operand, *bounds], [f"{stem}_read_part"])]
        operand = f"{stem}_read_part"
    attributes["pads"] = pads
    return [*nodes, onnx.helper.make_node(node.op_type, [operand], node.output, node.name, **attributes)]
