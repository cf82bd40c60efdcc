"""Pools with auto_pad SAME of which ONNX Runtime has other windows than ONNX infers: with dilations or ceil_mode.

The runtime pads them as if they were neither dilated nor rounded up. With its pads written down both count the same
windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import is_standard
from onnxattr.graph.windows import Layout, layout_of

POOLS = ("AveragePool", "LpPool", "MaxPool")


def is_same_pool(node: ir.Node) -> bool:
    """Whether a node is such a pool."""
    if not is_standard(node, *POOLS) or not node.attributes.get_string("auto_pad", "").startswith("SAME"):
        return False
    return node.attributes.get_int("ceil_mode", 0) != 0 or is_dilated(_layout(node))


def is_dilated(layout: Layout) -> bool:
    """Whether positions of a window have others between them."""
    return any(dilation != 1 for dilation in layout.dilations)


def with_runtime_pads(op: OpBuilder, node: ir.Node, x: Sequence[int | None], y: Sequence[int | None]) -> bool:
    """Writes the pads down that ONNX Runtime takes, where sizes are known and it takes no negative ones."""
    layout = _layout(node)
    padded = layout.undilated()
    pads = padded.same_pads(x[2:]) if len(x) == layout.rank + 2 else None
    if pads is None or any(crops(layout, axis, size) for axis, size in enumerate(x[2:])):
        return False
    node.attributes.pop("auto_pad")
    if not is_dilated(layout):
        node.attributes.pop("ceil_mode", None)
    node.attributes["pads"] = ir.AttrInt64s("pads", pads)
    return True


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


def _layout(node: ir.Node) -> Layout:
    return layout_of({name: attribute.value for name, attribute in node.attributes.items()})
