"""Pools and transposed convolutions that ONNX Runtime pads otherwise than ONNX infers, beside an auto_pad.

The runtime pads pools with auto_pad SAME as if they were neither dilated nor rounded up by ceil_mode. It does not read
the pads of a pool beside auto_pad. A transposed convolution is not larger by its output_padding there, though ONNX
infers so. With the pads written down both count the same windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import is_standard
from onnxattr.graph.values import dims_of
from onnxattr.graph.windows import Layout, layout_of

POOLS = ("AveragePool", "LpPool", "MaxPool")


def plain_attributes(node: ir.Node) -> dict[str, Any]:
    """The attributes of a node as plain values."""
    return {name: attribute.value for name, attribute in node.attributes.items()}


def layout_of_node(node: ir.Node) -> Layout:
    """The windows of a convolution or pool; sizes of windows that only the weights have are 0 where unknown."""
    weights = node.inputs[1] if len(node.inputs) > 1 and node.op_type not in POOLS else None
    kernel = [dim if isinstance(dim, int) else 0 for dim in (dims_of(weights) or [])[2:]]
    return layout_of(plain_attributes(node), kernel)


def pads_differ(node: ir.Node) -> bool:
    """Whether ONNX Runtime pads a node otherwise than ONNX infers."""
    auto_pad = node.attributes.get_string("auto_pad", "NOTSET")
    if auto_pad == "NOTSET" or not is_standard(node, "ConvTranspose", *POOLS):
        return False
    if node.op_type == "ConvTranspose":
        return "output_padding" in node.attributes and "output_shape" not in node.attributes
    return "pads" in node.attributes or _is_padded_otherwise(layout_of_node(node))


def _is_padded_otherwise(layout: Layout) -> bool:
    return layout.auto_pad.startswith("SAME") and (layout.ceil_mode or is_dilated(layout))


def is_dilated(layout: Layout) -> bool:
    """Whether positions of a window have others between them."""
    return any(dilation != 1 for dilation in layout.dilations)


def with_runtime_pads(op: OpBuilder, node: ir.Node, x: Sequence[int | None], y: Sequence[int | None]) -> bool:
    """Writes the pads down that ONNX Runtime takes, where sizes are known and it takes no negative ones."""
    layout = layout_of_node(node)
    if node.op_type == "ConvTranspose":
        return state(node, pads_of_transposed(layout, plain_attributes(node), [None] * layout.rank))
    unread = node.attributes.pop("pads", None) is not None
    if not _is_padded_otherwise(layout):
        return unread
    pads = layout.undilated().same_pads(x[2:]) if len(x) == layout.rank + 2 else None
    if pads is None or any(crops(layout, axis, size) for axis, size in enumerate(x[2:])):
        return unread
    if not is_dilated(layout):
        node.attributes.pop("ceil_mode", None)
    return state(node, pads)


def state(node: ir.Node, pads: list[int] | None) -> bool:
    """Writes pads in the place of ``auto_pad``; whether there are any to write."""
    if pads is None:
        return False
    node.attributes.pop("auto_pad", None)
    node.attributes["pads"] = ir.AttrInt64s("pads", pads)
    return True


def pads_of_transposed(
    layout: Layout, attributes: Mapping[str, Any], counts: Sequence[int | None]
) -> list[int] | None:
    """The pads that ``auto_pad`` or ``output_shape`` of a transposed convolution stand for; None where unknown."""
    wanted = list(attributes.get("output_shape") or [])[-layout.rank :]
    if min(layout.kernel, default=0) <= 0 or (layout.auto_pad == "NOTSET" and not wanted):
        return None
    if layout.auto_pad == "VALID" and not wanted:
        return [0] * 2 * layout.rank
    more = attributes.get("output_padding") or [0] * layout.rank
    totals = []
    for axis, (count, stride) in enumerate(zip(counts, layout.strides, strict=True)):
        if wanted and count is None:
            return None
        # Without output_shape the output is as large as all strides, however many there are.
        size, windows = (wanted[axis], count) if wanted and count is not None else (stride, 1)
        totals.append(layout.padding(axis, size, windows, more[axis]))
    return layout.halved(totals) if min(totals) >= 0 else None


def crops(layout: Layout, axis: int, size: int | None, pool: bool = True) -> bool:
    """Whether ONNX Runtime may take negative padding for SAME, where ONNX takes none, and windows show it.

    Args:
        layout: The windows.
        axis: The axis.
        size: Its size, if it is known.
        pool: Whether they are those of a pool, or of a convolution.
    """
    least = -1 if layout.auto_pad == "SAME_UPPER" else -2  # which begin at the start all the same
    if pool and is_dilated(layout):
        layout, least = layout.undilated(), 0
    size = layout.strides[axis] if size is None else size
    return layout.padding(axis, size, -(-size // layout.strides[axis])) < least
