"""Pads of convolutions and pools as numbers, wherever they can be known before a run.

``auto_pad`` and ``output_shape`` are written as the pads that they stand for, and ``ceil_mode`` as padding of which the
last windows read nothing else. The windows lie where they lay, so that the numbers stay; where the pads depend on sizes
that a run decides, or would change what an average counts, a node is left as it is. The same holds where sizes come
from the file's declarations of inner values: these may be wrong, and must not change the forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.errors import ModelError
from onnxattr.graph.values import dims_of
from onnxattr.graph.windows import Layout
from onnxattr.loading.shapes.infer import DECLARED_SIZES
from onnxattr.loading.shapes.runtime_pads import (
    POOLS,
    crops,
    is_dilated,
    layout_of_node,
    pads_of_transposed,
    plain_attributes,
    state,
)


def state_pads(model: ir.Model) -> bool:
    """Rewrites the attributes of convolutions and pools, those in subgraphs included, in place; whether of any."""
    sized = not model.meta.get(DECLARED_SIZES, False)
    nodes = [node for node in model.graph.all_nodes() if node.domain in ("", "ai.onnx")]
    changed = [_state_pads(node, sized) for node in nodes]
    return any(changed)


def _state_pads(node: ir.Node, sized: bool) -> bool:
    if node.op_type not in ("Conv", "ConvTranspose", *POOLS):
        return False
    layout = layout_of_node(node)
    if not layout.rank or min(layout.kernel) <= 0:
        return False
    attributes = plain_attributes(node)
    sizes, counts = (
        _spatial(side if sized else None, layout.rank) for side in (node.inputs[0], node.outputs[0])
    )
    if node.op_type == "ConvTranspose":
        return _state(node, pads_of_transposed(layout, attributes, sizes), "output_shape")
    if layout.auto_pad.startswith("SAME"):
        _check_not_cropped(node, layout, sizes)
        if node.op_type in POOLS and is_dilated(layout):
            return False  # stated where types are inferred, if sizes are known
        # With these pads no window reaches past the padding: ceil_mode says nothing.
        return _state(node, layout.same_pads(sizes), "ceil_mode")
    if layout.ceil_mode:
        counted = attributes.get("count_include_pad", 0)
        return not counted and _state(node, _ceiled(layout, sizes, counts), "ceil_mode")
    return layout.auto_pad == "VALID" and state(node, [0] * 2 * layout.rank)


def _spatial(side: ir.Value | None, rank: int) -> list[int | None]:
    dims = (dims_of(side) or [])[2:]
    return [dim if isinstance(dim, int) else None for dim in dims] or [None] * rank


def _check_not_cropped(node: ir.Node, layout: Layout, sizes: Sequence[int | None]) -> None:
    """Refuses auto_pad SAME where strides are so much larger than windows that ONNX Runtime takes negative padding.

    Raises:
        ModelError: If it does, or may do so for a size that is unknown.
    """
    for axis, size in enumerate(sizes):
        if crops(layout, axis, size, node.op_type in POOLS):
            name = node.name or node.outputs[0].name
            raise ModelError(
                f"{node.op_type} node {name!r} has auto_pad={layout.auto_pad}, the stride {layout.strides[axis]} and "
                f"windows of {layout.extents[axis]} elements: there ONNX Runtime computes something else than ONNX "
                "defines. Export the model with pads in place of auto_pad."
            )


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
    if pads is not None:
        node.attributes.pop(replaced, None)
    return state(node, pads)
