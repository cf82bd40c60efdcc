"""Whether positions that a node reads or writes are known to be different ones."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from onnxattr.graph.values import dims_of


def distinct_rows(indices: ir.Value, x: ir.Value) -> bool:
    """Whether the rows of a GatherND or ScatterND, (..., K) positions along the first K axes of x, all differ."""
    dims = dims_of(indices)
    if dims and prod(dim if isinstance(dim, int) else 2 for dim in dims[:-1]) <= 1:
        return True
    if _chosen_by_mask(indices):
        return True
    if (known := _constant(indices)) is None:
        return False
    rows = known.reshape(-1, known.shape[-1])
    sizes = (dims_of(x) or [])[: rows.shape[1]]
    columns = [_from_front(rows[:, axis], sizes[axis] if sizes else None) for axis in range(rows.shape[1])]
    if any(column is None for column in columns):
        return False
    return len(np.unique(np.stack([c for c in columns if c is not None], axis=1), axis=0)) == len(rows)


def distinct_along(indices: ir.Value, x: ir.Value, axis: int) -> bool:
    """Whether the positions of a GatherElements or ScatterElements differ along its axis."""
    dims, made = dims_of(indices), indices.producer()
    if dims and dims[axis] == 1:
        return True
    if made is not None and made.op_type == "TopK" and indices is made.outputs[1]:
        along = made.attributes.get_int("axis", -1)
        return dims is not None and (along - axis) % len(dims) == 0
    if (known := _constant(indices)) is None:
        return False
    sizes = dims_of(x)
    places = _from_front(known, sizes[axis] if sizes else None)
    return places is not None and bool((np.diff(np.sort(places, axis=axis), axis=axis) != 0).all())


def _constant(indices: ir.Value) -> np.ndarray | None:
    """The positions, where they are written down; those behind an Unsqueeze too."""
    made = indices.producer()
    if made is not None and made.op_type == "Unsqueeze":
        inner = made.inputs[0]
        axes = made.inputs[1].const_value if made.inputs[1] is not None else None
        if inner is None or inner.const_value is None or axes is None:
            return None
        return np.expand_dims(inner.const_value.numpy(), tuple(axes.numpy().tolist()))
    return None if indices.const_value is None else indices.const_value.numpy()


def _from_front(places: np.ndarray, size: int | str | None) -> np.ndarray | None:
    """Positions counted from the front; None where some count from the end of an unknown size."""
    if (places >= 0).all() or (places < 0).all():
        return places
    return np.where(places < 0, places + size, places) if isinstance(size, int) else None


def _chosen_by_mask(indices: ir.Value) -> bool:
    """Whether they are where a mask is true: a transposed NonZero."""
    made = indices.producer()
    if made is None or made.op_type != "Transpose" or made.inputs[0] is None:
        return False
    inner = made.inputs[0].producer()
    return inner is not None and inner.op_type == "NonZero"
