"""Pools of PyTorch, written in operators of ONNX."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from .elementwise import operators


def adaptive_max_pool(self: Any, output_size: Sequence[int]) -> tuple[Any, Any]:
    """The first of the largest of each window, and its place in the plane; the exporter's ReduceMax divides a gradient.

    Window i of n along an axis of length L goes from floor(i L / n) to ceil((i + 1) L / n).

    Raises:
        NotImplementedError: For several windows along an axis of unknown length.
    """
    op, axes = operators(), len(output_size)
    lengths = list(self.shape)[-axes:]
    if len(self.shape) == axes + 2:
        return _pooled(self, lengths, output_size)
    sample = op.Constant(value_ints=[0])
    found, places = _pooled(op.Unsqueeze(self, sample), lengths, output_size)
    return op.Squeeze(found, sample), op.Squeeze(places, sample)


def _pooled(self: Any, lengths: Sequence[Any], output_size: Sequence[int]) -> tuple[Any, Any]:
    op = operators()
    if all(isinstance(length, int) for length in lengths):
        return _of_known_lengths(self, lengths, output_size)
    if math.prod(output_size) != 1:
        raise NotImplementedError(
            f"adaptive max pooling to {list(output_size)} of a plane of {lengths}, whose lengths are not fixed"
        )
    flat = op.Reshape(self, op.Constant(value_ints=[0, 0, -1]))
    place = op.ArgMax(flat, axis=2, keepdims=1)
    shape = op.Constant(value_ints=[0, 0, *output_size])
    return op.Reshape(op.GatherElements(flat, place, axis=2), shape), op.Reshape(place, shape)


def _of_known_lengths(self: Any, lengths: Sequence[int], output_size: Sequence[int]) -> tuple[Any, Any]:
    op, places = operators(), np.arange(math.prod(lengths)).reshape(lengths)
    if not any(length % number for length, number in zip(lengths, output_size, strict=True)):
        return _pool(self, [length // n for length, n in zip(lengths, output_size, strict=True)], places.size)
    axes, flat = op.Constant(value_ints=list(range(2, 2 + len(lengths)))), op.Constant(value_ints=[0, 0, -1])
    found, at = [], []
    for cell in product(*map(range, output_size)):
        begins = [i * length // n for i, length, n in zip(cell, lengths, output_size, strict=True)]
        ends = [-(-(i + 1) * length // n) for i, length, n in zip(cell, lengths, output_size, strict=True)]
        inside = places[tuple(map(slice, begins, ends))]
        window = op.Slice(self, op.Constant(value_ints=begins), op.Constant(value_ints=ends), axes)
        largest, place = _pool(window, list(inside.shape), inside.size)
        found.append(op.Reshape(largest, flat))
        at.append(op.Reshape(op.Gather(op.Constant(value_ints=inside.reshape(-1).tolist()), place), flat))
    shape = op.Constant(value_ints=[0, 0, *output_size])
    return op.Reshape(op.Concat(*found, axis=2), shape), op.Reshape(op.Concat(*at, axis=2), shape)


def _pool(x: Any, kernel: list[int], size: int) -> tuple[Any, Any]:
    """The largest of windows side by side, and their places in a plane of a size; ONNX counts them in the batch."""
    op = operators()
    found, position = op.MaxPool(x, kernel_shape=kernel, strides=kernel)
    return found, op.Mod(position, op.Constant(value_int=size))
