"""Samples so short that nothing of them is left for a recurrent layer, for which ONNX Runtime ends the process."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ModelError, ShapeError
from onnxattr.graph.values import dims_of
from onnxattr.loading.checks.trial_run import empty_read, not_empty
from onnxattr.loading.prepared import Prepared


def check_lengths_of(prepared: Prepared, feeds: Mapping[str, np.ndarray]) -> None:
    """Refuses samples that leave a recurrent layer without a step; each shape is looked at once.

    Raises:
        ShapeError: Names the node and what it reads.
    """
    shapes = tuple(array.shape if prepared.rows.mixed else array.shape[1:] for array in feeds.values())
    if shapes in prepared.fitting:
        return
    sizes = {dim for value in prepared.inputs for dim in dims_of(value) or [] if isinstance(dim, str)}
    if any(_may_be_empty(value, sizes) for value in _read(prepared.model.graph)):
        first = {name: array if prepared.rows.mixed else array[:1] for name, array in feeds.items()}
        try:
            found = empty_read(prepared.proto(), first, prepared.folder)
        except ModelError:
            return  # it says so when it runs
        if found:
            raise ShapeError(
                f"Inputs of shapes { {name: array.shape for name, array in feeds.items()} } are too small for the "
                f"model: {found}. Give longer ones."
            )
    prepared.fitting.add(shapes)


def _read(graph: ir.Graph) -> Iterator[ir.Value | None]:
    """What nodes read that must have an element."""
    for node in graph:
        axes = node.attributes.get("scan_input_axes")
        yield from not_empty(node.op_type, node.inputs, axes.as_ints() if axes else [])


def _may_be_empty(value: ir.Value | None, sizes: Collection[str]) -> bool:
    """Whether a value may have no element, though the inputs, which have these sizes, have some."""
    dims = dims_of(value) if value is not None else [1]
    return dims is None or any(dim not in sizes if not isinstance(dim, int) else dim == 0 for dim in dims)
