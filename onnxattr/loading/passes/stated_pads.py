"""Pads of convolutions and pools as numbers, wherever they can be known before a run.

``auto_pad`` and ``output_shape`` are written as the pads that they stand for, and ``ceil_mode`` as padding of which the
last windows read nothing else. The windows lie where they lay, so that the numbers stay; where the pads depend on sizes
that a run decides, or would change what an average counts, a node is left as it is. The same holds where sizes come
from the file's declarations of inner values: these may be wrong, and must not change the forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.graph.values import dims_of
from onnxattr.loading.shapes.infer import DECLARED_SIZES

_POOLS = ("AveragePool", "LpPool", "MaxPool")


def state_pads(model: ir.Model) -> bool:
    """Rewrites the attributes of convolutions and pools, those in subgraphs included, in place; whether of any."""
    sized = not model.meta.get(DECLARED_SIZES, False)
    nodes = [node for node in model.graph.all_nodes() if node.domain in ("", "ai.onnx")]
    changed = [_state_pads(node, sized) for node in nodes]
    return any(changed)


def _state_pads(node: ir.Node, sized: bool) -> bool:
    if node.op_type == "ConvTranspose":
        transposed = _Geometry(node, node.outputs[0], node.inputs[0], sized)
        return _state(node, _pads_of_transposed(transposed), "output_shape")
    if node.op_type not in ("Conv", *_POOLS):
        return False
    # With these pads no window reaches past the padding: ceil_mode says nothing.
    changed = _state(
        node, _pads_by_rule(_Geometry(node, node.inputs[0], node.outputs[0], sized)), "ceil_mode"
    )
    if not node.attributes.get_int("ceil_mode", 0):
        return changed
    return _state(node, _pads_of_ceiled(_Geometry(node, node.inputs[0], node.outputs[0], sized)), "ceil_mode")


class _Geometry:
    """What a node says of its windows, ``padded`` being what they lie over and ``strided`` having one element each.

    Their sizes count only if they are ``sized``, known from the nodes.
    """

    def __init__(self, node: ir.Node, padded: ir.Value | None, strided: ir.Value | None, sized: bool):
        attributes, kernel = node.attributes, list(node.attributes.get_ints("kernel_shape", []))
        if not kernel and node.op_type not in _POOLS:
            kernel = [dim if isinstance(dim, int) else 0 for dim in (dims_of(node.inputs[1]) or [])[2:]]
        self.node, self.kernel, self.rank = node, kernel, len(kernel)
        self.strides = list(attributes.get_ints("strides", [1] * self.rank))
        dilations = attributes.get_ints("dilations", [1] * self.rank)
        self.extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        self.auto_pad = attributes.get_string("auto_pad", "NOTSET")
        self.pads = list(attributes.get_ints("pads", [0] * 2 * self.rank))
        self.sizes, self.counts = (self._spatial(side if sized else None) for side in (padded, strided))
        self.known = self.rank > 0 and min(kernel) > 0

    def _spatial(self, side: ir.Value | None) -> list[int | None]:
        dims = (dims_of(side) or [])[2:]
        return [dim if isinstance(dim, int) else None for dim in dims] or [None] * self.rank

    def halved(self, totals: Sequence[int]) -> list[int]:
        """Padding before and behind each axis of so much in all."""
        small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
        return small + large if self.auto_pad == "SAME_UPPER" else large + small


def _pads_by_rule(found: _Geometry) -> list[int] | None:
    """The pads that ``auto_pad`` of a convolution or pool stands for."""
    if not found.known or found.auto_pad == "NOTSET":
        return None
    if found.auto_pad == "VALID":
        ceiled = found.node.attributes.get_int("ceil_mode", 0)
        return None if ceiled else [0] * 2 * found.rank
    totals = []
    for size, stride, extent in zip(found.sizes, found.strides, found.extents, strict=True):
        if stride > 1 and size is None:
            return None
        rest = 0 if size is None or stride == 1 else size - (-(-size // stride) - 1) * stride - 1
        totals.append(max(extent - 1 - rest, 0))
    return found.halved(totals)


def _pads_of_transposed(found: _Geometry) -> list[int] | None:
    """The pads that ``auto_pad`` or ``output_shape`` of a transposed convolution stand for."""
    attributes = found.node.attributes
    wanted = list(attributes.get_ints("output_shape", []))[-found.rank :]
    if not found.known or (found.auto_pad == "NOTSET" and not wanted):
        return None
    if found.auto_pad == "VALID" and not wanted:
        return [0] * 2 * found.rank
    more = attributes.get_ints("output_padding", [0] * found.rank)
    totals = []
    for axis, (count, stride) in enumerate(zip(found.counts, found.strides, strict=True)):
        reach = found.extents[axis] + more[axis] - stride
        if wanted and count is None:
            return None
        totals.append(reach + (count * stride - wanted[axis] if wanted and count is not None else 0))
    return found.halved(totals) if min(totals) >= 0 else None


def _pads_of_ceiled(found: _Geometry) -> list[int] | None:
    """The pads with which as many windows fit without ``ceil_mode``, where sizes are known."""
    counted = found.node.attributes.get_int("count_include_pad", 0)
    if not found.known or found.auto_pad != "NOTSET" or counted:
        return None
    pads = list(found.pads)
    for axis, (size, count, stride) in enumerate(zip(found.sizes, found.counts, found.strides, strict=True)):
        if size is None or count is None:
            return None
        behind = axis + found.rank
        missing = (count - 1) * stride + found.extents[axis] - (size + pads[axis] + pads[behind])
        pads[behind] += max(missing, 0)
        if -missing >= stride or pads[behind] >= found.kernel[axis]:
            return None
    return pads


def _state(node: ir.Node, pads: list[int] | None, replaced: str) -> bool:
    if pads is None:
        return False
    for name in ("auto_pad", replaced):
        node.attributes.pop(name, None)
    node.attributes["pads"] = ir.AttrInt64s("pads", pads)
    return True
