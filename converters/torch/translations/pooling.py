"""Pools of PyTorch, written in operators of ONNX."""

import math
from collections.abc import Sequence
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np
import onnx

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


def adaptive_average_pool3d(self: Any, output_size: Sequence[int]) -> Any:
    """The mean of each window, as a product with a matrix along each axis; the exporter has no form of it.

    Raises:
        NotImplementedError: For several windows along an axis of unknown length.
    """
    op, lengths = operators(), list(self.shape)
    rank = len(lengths)
    for axis, number in zip(range(rank - 3, rank), output_size, strict=True):
        length = lengths[axis]
        if number == 1:
            self = op.ReduceMean(self, op.Constant(value_ints=[axis]), keepdims=1)
        elif not isinstance(length, int):
            raise NotImplementedError(
                f"adaptive average pooling to {list(output_size)} along axis {axis}, whose length is not fixed"
            )
        elif number != length:
            order = [*(i for i in range(rank) if i != axis), axis]
            shares = op.CastLike(
                op.Constant(value=onnx.numpy_helper.from_array(_shares(length, number))), self
            )
            means = op.MatMul(op.Transpose(self, perm=order), shares)
            self = op.Transpose(means, perm=[order.index(i) for i in range(rank)])
    return self


def _shares(length: int, number: int) -> Any:
    """The share of each element in the mean of each window, (length, number)."""
    shares = np.zeros((length, number), np.float32)
    for i in range(number):
        begin, end = i * length // number, -(-(i + 1) * length // number)
        shares[begin:end, i] = 1 / (end - begin)
    return shares


def average_pool2d(self: Any, kernel_size: Sequence[int], *settings: Any, **named: Any) -> Any:
    """avg_pool2d."""
    return _average_pool("aten_avg_pool2d", self, kernel_size, *settings, **named)


def average_pool3d(self: Any, kernel_size: Sequence[int], *settings: Any, **named: Any) -> Any:
    """avg_pool3d."""
    return _average_pool("aten_avg_pool3d", self, kernel_size, *settings, **named)


def _average_pool(
    name: str,
    self: Any,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The exporter's, which leaves out `divisor_override`: sums of windows over that number.

    Raises:
        NotImplementedError: For a divisor together with windows that may reach beyond the padding.
    """
    pool = getattr(import_module("onnxscript.function_libs.torch_lib.ops.nn"), name)
    if divisor_override is None:
        return pool(self, kernel_size, stride, padding, ceil_mode, count_include_pad)
    axes = int(name[-2])
    if ceil_mode:
        raise NotImplementedError(f"avg_pool{axes}d with divisor_override and ceil_mode=True")
    op, size = operators(), math.prod(kernel_size) ** (axes // len(kernel_size))
    means = pool(self, kernel_size, stride, padding, False, True)
    return op.Mul(means, op.CastLike(size / divisor_override, means))
