"""Rows of made-up numbers that a model may take, as recipes from which anyone makes the same rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import onnx

from onnxattr.graph.values import dims_of
from onnxattr.loading.prepared import Prepared

#: What unknown sizes are taken to be, one after the other until the model itself runs; the batch is 1.
_SIZES = (8, 32, 64, 224, 1)
UNIFORM, PIXELS = "uniform", "pixels"

Feeds = dict[str, np.ndarray]


class Drawn(NamedTuple):
    """An input of a drawn row.

    Attributes:
        name: Its name.
        type: Its element type, a number of ONNX.
        shape: Its shape.
        fill: One number for all elements, or "uniform" numbers from 0.1 to 1, or "pixels" from 0 to 255.
    """

    name: str
    type: int
    shape: list[int]
    fill: float | str


def draws(prepared: Prepared, sizes: Mapping[str, int]) -> Iterator[list[Drawn]]:
    """One row of numbers for every input, with unknown sizes of all lengths."""
    inputs, spec = prepared.inputs, prepared.preprocessing
    pixels = spec.name if spec is not None and spec.in_graph else None
    free = any(not isinstance(dim, int) for value in inputs for dim in (dims_of(value) or [])[1:])
    whole = any(value.dtype is not None and value.dtype.is_integer() for value in inputs)
    batch = {dims[0] for value in inputs if (dims := dims_of(value)) and isinstance(dims[0], str)}
    for size, number in itertools.product(_SIZES if free else _SIZES[:1], (1, 0) if whole else (1,)):
        row = []
        for value in inputs:
            dims = dims_of(value) or []
            shape = [
                dim if isinstance(dim, int) else sizes.get(str(dim), 1 if axis == 0 or dim in batch else size)
                for axis, dim in enumerate(dims)
            ]
            assert value.dtype is not None
            fill = UNIFORM if value.dtype.is_floating_point() else number
            row.append(
                Drawn(str(value.name), value.dtype.value, shape, PIXELS if value.name == pixels else fill)
            )
        yield row


def filled(row: Iterable[Drawn]) -> Feeds:
    """The numbers of a drawn row."""
    rng, feeds = np.random.default_rng(0), {}
    for name, kind, shape, fill in row:
        array = np.full(shape, 0 if isinstance(fill, str) else fill)
        if fill == UNIFORM:
            array = rng.uniform(0.1, 1, shape)
        elif fill == PIXELS:
            array = rng.integers(0, 256, shape)
        feeds[name] = np.asarray(array).astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    return feeds
