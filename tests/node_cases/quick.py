"""Makes onnx's node tests in a fifth of the time: they are made on import, in each process of the tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
from onnx.backend.test.case import base
from onnx.reference.ops import op_pool_common

_POOL = op_pool_common.pool


@contextlib.contextmanager
def made_quickly() -> Iterator[None]:
    """While it lasts, pools without padding are made of all windows at once, and no source is read for onnx's docs."""
    with (
        patch.object(op_pool_common, "pool", _pool),
        patch.object(base, "process_snippet", lambda *_: ("", "")),
    ):
        yield


def _pool(
    padded: np.ndarray,
    x_shape: Any,
    kernel: Any,
    strides: Any,
    out_shape: Any,
    kind: str,
    *more: Any,
    **named: Any,
) -> np.ndarray:
    """What onnx's function gives, up to rounding of the roots of LpPool."""
    if more or named.keys() - {"p"} or np.isnan(padded).any():
        return _POOL(padded, x_shape, kernel, strides, out_shape, kind, *more, **named)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=tuple(range(2, padded.ndim)))
    windows = windows[(slice(None), slice(None), *(slice(None, None, step) for step in strides))]
    flat = windows.reshape(*windows.shape[: padded.ndim], -1)
    p = named.get("p", 1)
    if kind == "LPPOOL":
        return ((np.abs(flat) ** p).sum(axis=-1) ** (1.0 / p)).astype(padded.dtype)
    return (flat.max(axis=-1) if kind == "MAX" else flat.mean(axis=-1)).astype(padded.dtype)
