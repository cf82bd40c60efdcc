"""Pads of convolutions and pools as numbers, wherever they can be known before a run.

``auto_pad`` and ``output_shape`` are written as the pads that they stand for, and ``ceil_mode`` as padding of which the
last windows read nothing else. The windows lie where they lay, so that the numbers stay; where the pads depend on sizes
that a run decides, or would change what an average counts, a node is left as it is. The same holds where sizes come
from the file's declarations of inner values: these may be wrong, and must not change the forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import is_standard, nodes_of
from onnxattr.graph.values import dims_of
from onnxattr.graph.windows import Layout, layout_of
from onnxattr.loading.shapes.infer import DECLARED_SIZES
from onnxattr.loading.shapes.same_pools import POOLS, crops, is_dilated


def state_pads(model: ir.Model) -> bool:
    """Rewrites the attributes of convolutions and pools, those in subgraphs included, in place; whether of any."""
    sized = not model.meta.get(DECLARED_SIZES, False)
    nodes = [node for node in model.graph.all_nodes() if node.domain in ("", "ai.onnx")]
    changed = [_state_pads(node, sized) for node in nodes]
    return any(changed)


def state_pads_of_runtime(graph: ir.Graph) -> bool:
    """States pads that ONNX's shape inference counts otherwise than ONNX Runtime, in place; whether there were any.

    Beside an ``auto_pad`` ONNX Runtime does not read the ``pads`` of a pool, which inference does. VALID stands for no
    pads, with any ceil_mode. A transposed convolution with auto_pad SAME or VALID is not larger by its output_padding.
    """
    changed = False
    for node in nodes_of(graph):
        attributes = {name: attribute.value for name, attribute in node.attributes.items()}
        layout = layout_of(attributes, _kernel(node))
        if layout.auto_pad == "NOTSET" or min(layout.kernel, default=0) <= 0:
            continue
        if is_standard(node, *POOLS):
            changed |= node.attributes.pop("pads", None) is not None
            changed |= layout.auto_pad == "VALID" and _state(node, [0] * 2 * layout.rank, "pads")
        elif "output_padding" in attributes and not attributes.get("output_shape"):
            stated = _pads_of_transposed(layout, attributes, [None] * layout.rank)
            changed |= _state(node, stated, "output_shape")
    return changed


def _kernel(node: ir.Node) -> list[int]:
    """The size of a window as the weights have it; 0 where it is unknown."""
    weights = node.inputs[1] if len(node.inputs) > 1 and node.op_type not in POOLS else None
    return [dim if isinstance(dim, int) else 0 for dim in (dims_of(weights) or [])[2:]]


def _state_pads(node: ir.Node, sized: bool) -> bool:
    if node.op_type not in ("Conv", "ConvTranspose", *POOLS):
        return False
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    layout = layout_of(attributes, _kernel(node))
    if not layout.rank or min(layout.kernel) <= 0:
        return False
    sizes, counts = (
        _spatial(side if sized else None, layout.rank) for side in (node.inputs[0], node.outputs[0])
    )
    if node.op_type == "ConvTranspose":
        return _state(node, _pads_of_transposed(layout, attributes, sizes), "output_shape")
    _check_not_cropped(node, layout, sizes)
    if node.op_type in POOLS and layout.auto_pad.startswith("SAME") and is_dilated(layout):
        return False  # stated where types are inferred, if sizes are known
    # With these pads no window reaches past the padding: ceil_mode says nothing.
    if layout.auto_pad != "NOTSET":
        return _state(node, _pads_by_rule(layout, sizes), "ceil_mode")
    counted = attributes.get("count_include_pad", 0)
    return layout.ceil_mode and not counted and _state(node, _ceiled(layout, sizes, counts), "ceil_mode")


def _spatial(side: ir.Value | None, rank: int) -> list[int | None]:
    dims = (dims_of(side) or [])[2:]
    return [dim if isinstance(dim, int) else None for dim in dims] or [None] * rank


def _check_not_cropped(node: ir.Node, layout: Layout, sizes: Sequence[int | None]) -> None:
    """Refuses auto_pad SAME where strides are so much larger than windows that ONNX Runtime takes negative padding.

    Raises:
        ModelError: If it does, or may do so for a size that is unknown.
    """
    for axis, size in enumerate(sizes if layout.auto_pad.startswith("SAME") else ()):
        if crops(layout, axis, size, node.op_type in POOLS):
            name = node.name or node.outputs[0].name
            raise ModelError(
                f"{node.op_type} node {name!r} has auto_pad={layout.auto_pad}, the stride {layout.strides[axis]} and "
                f"windows of {layout.extents[axis]} elements: there ONNX Runtime computes something else than ONNX "
                "defines. Export the model with pads in place of auto_pad."
            )


def _pads_by_rule(layout: Layout, sizes: Sequence[int | None]) -> list[int] | None:
    """The pads that ``auto_pad`` of a convolution or pool stands for."""
    if layout.auto_pad == "VALID":
        return None if layout.ceil_mode else [0] * 2 * layout.rank
    return layout.same_pads(sizes)


def _pads_of_transposed(
    layout: Layout, attributes: Mapping[str, Any], counts: Sequence[int | None]
) -> list[int] | None:
    """The pads that ``auto_pad`` or ``output_shape`` of a transposed convolution stand for."""
    wanted = list(attributes.get("output_shape") or [])[-layout.rank :]
    if layout.auto_pad == "NOTSET" and not wanted:
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


def _ceiled(layout: Layout, sizes: Sequence[int | None], counts: Sequence[int | None]) -> list[int] | None:
    """The pads with which as many windows fit without ``ceil_mode``, where sizes are known."""
    begins, ends = layout.begins, layout.ends
    for axis, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        if size is None or count is None:
            return None
        missing = layout.padding(axis, size, count) - begins[axis] - ends[axis]
        ends[axis] += max(missing, 0)
        if -missing >= layout.strides[axis] or ends[axis] >= layout.kernel[axis]:
            return None
    return begins + ends


def _state(node: ir.Node, pads: list[int] | None, replaced: str) -> bool:
    if pads is None:
        return False
    for name in ("auto_pad", replaced):
        node.attributes.pop(name, None)
    node.attributes["pads"] = ir.AttrInt64s("pads", pads)
    return True
