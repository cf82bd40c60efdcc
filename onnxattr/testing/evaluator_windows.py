"""Convolutions and pools for checks in float64, in any rank and with every attribute, by plain numpy.

Each loops over the positions of the kernel. onnx's own evaluator has neither grouped transposed convolutions nor all
paddings of pools, and takes minutes over long signals.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import helper
from onnx.reference.op_run import OpRun

Attributes = Mapping[str, Any]


class Corrected(OpRun):
    """Base: attributes as a plain mapping, defaults left to each operator."""

    op_domain = ""

    def _run(self, *inputs: Any, **_: Any) -> Any:
        attributes = {a.name: helper.get_attribute_value(a) for a in self.onnx_node.attribute}
        attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        result = self.compute(attributes, *inputs)
        return result if isinstance(result, tuple) else (result,)

    def compute(self, attributes: Attributes, *inputs: Any, **_: Any) -> Any:
        """One array, or a tuple of them."""
        raise NotImplementedError


def windows(attributes: Attributes, size: Sequence[int], kernel: Sequence[int]) -> tuple[Sequence[int], ...]:
    """Strides, dilations, pads before and number of windows, per axis."""
    rank = len(kernel)
    strides = attributes.get("strides", [1] * rank)
    dilations = attributes.get("dilations", [1] * rank)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto = attributes.get("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        counts = [-(-n // s) for n, s in zip(size, strides, strict=True)]
        totals = [
            max((c - 1) * s + e - n, 0) for c, s, e, n in zip(counts, strides, extents, size, strict=True)
        ]
        begins = [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in totals]
        return strides, dilations, begins, counts
    pads = attributes.get("pads", [0] * 2 * rank) if auto == "NOTSET" else [0] * 2 * rank
    begins, counts = pads[:rank], []
    for n, b, e, s, extent in zip(size, begins, pads[rank:], strides, extents, strict=True):
        count = (n + b + e - extent) // s + 1
        if attributes.get("ceil_mode", 0):
            count = math.ceil((n + b + e - extent) / s) + 1
            # A window must start inside the input or its leading padding.
            count -= (count - 1) * s >= n + b
        counts.append(count)
    return strides, dilations, begins, counts


def views(
    array: np.ndarray, attributes: Attributes, kernel: Sequence[int], fill: float
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """For each kernel position the elements it covers, one array of the outputs' spatial shape each."""
    strides, dilations, begins, counts = windows(attributes, array.shape[2:], kernel)
    widths, spans = [(0, 0), (0, 0)], []
    for n, b, k, d, s, c in zip(array.shape[2:], begins, kernel, dilations, strides, counts, strict=True):
        spans.append((c - 1) * s + (k - 1) * d + 1)
        widths.append((b, max(spans[-1] - n - b, 0)))
    padded = np.pad(array, widths, constant_values=fill)
    for offset in itertools.product(*map(range, kernel)):
        cut = [
            slice(o * d, o * d + (c - 1) * s + 1, s)
            for o, d, c, s in zip(offset, dilations, counts, strides, strict=True)
        ]
        yield offset, padded[(slice(None), slice(None), *cut)]


def _by_group(x: np.ndarray, groups: int) -> np.ndarray:
    """(N, C, ...) as (N, groups, C / groups, elements)."""
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, -1)


class Conv(Corrected):  # noqa: D101
    def compute(self, attributes: Attributes, x: Any, w: Any, b: Any = None) -> Any:
        """A matrix product for each kernel position."""
        groups = attributes.get("group", 1)
        taps = w.reshape(groups, -1, *w.shape[1:])
        total: Any = 0
        for offset, view in views(x, attributes, w.shape[2:], 0.0):
            total = total + taps[(..., *offset)] @ _by_group(view, groups)
        y = total.reshape(x.shape[0], w.shape[0], *view.shape[2:])
        return y if b is None else y + b.reshape(-1, *[1] * (x.ndim - 2))


class ConvTranspose(Corrected):  # noqa: D101
    def compute(self, attributes: Attributes, x: Any, w: Any, b: Any = None) -> Any:
        """A matrix product for each kernel position, added where it belongs; the padding is cut off at the end."""
        kernel, size = w.shape[2:], x.shape[2:]
        rank, groups = len(kernel), attributes.get("group", 1)
        strides = attributes.get("strides", [1] * rank)
        dilations = attributes.get("dilations", [1] * rank)
        extra = attributes.get("output_padding", [0] * rank)
        geometry = zip(strides, size, kernel, dilations, extra, strict=True)
        spans = [s * (n - 1) + (k - 1) * d + 1 + e for s, n, k, d, e in geometry]
        channels = w.shape[1] * groups
        full = np.zeros((x.shape[0], channels, *spans), x.dtype)
        taps = w.reshape(groups, -1, *w.shape[1:]).swapaxes(1, 2)
        for offset in itertools.product(*map(range, kernel)):
            cut = [
                slice(o * d, o * d + s * (n - 1) + 1, s)
                for o, d, s, n in zip(offset, dilations, strides, size, strict=True)
            ]
            part = taps[(..., *offset)] @ _by_group(x, groups)
            full[(slice(None), slice(None), *cut)] += part.reshape(x.shape[0], channels, *size)
        y = self.crop(attributes, full, strides, size)
        return y if b is None else y + b.reshape(-1, *[1] * rank)

    @staticmethod
    def crop(
        attributes: Attributes, full: np.ndarray, strides: Sequence[int], size: Sequence[int]
    ) -> np.ndarray:
        """What the padding leaves, or the size that the attributes ask for."""
        rank = len(size)
        auto, pads = attributes.get("auto_pad", "NOTSET"), attributes.get("pads", [0] * 2 * rank)
        cut = [slice(b, n - e) for b, e, n in zip(pads[:rank], pads[rank:], full.shape[2:], strict=True)]
        if "output_shape" in attributes or auto.startswith("SAME"):
            wanted = attributes.get("output_shape", [n * s for n, s in zip(size, strides, strict=True)])
            totals = [n - m for n, m in zip(full.shape[2:], wanted, strict=True)]
            begins = [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in totals]
            cut = [slice(b, b + m) for b, m in zip(begins, wanted, strict=True)]
        return full[(slice(None), slice(None), *cut)]


class MaxPool(Corrected):  # noqa: D101
    def compute(self, attributes: Attributes, x: Any) -> Any:
        """The values alone; indices, which no gradient reads here, are zeros."""
        y = functools.reduce(
            np.maximum, (view for _, view in views(x, attributes, attributes["kernel_shape"], -np.inf))
        )
        return (y, np.zeros(y.shape, np.int64))[: len(self.onnx_node.output)]


class AveragePool(Corrected):  # noqa: D101
    def compute(self, attributes: Attributes, x: Any) -> Any:
        """The sum over what a window covers, by how much of that counts."""
        kernel = attributes["kernel_shape"]
        inside = np.ones(x.shape)
        counted, auto_pad = attributes.get("count_include_pad", 0), attributes.get("auto_pad", "NOTSET")
        if counted and auto_pad == "NOTSET":
            rank = len(kernel)
            pads = attributes.get("pads", [0] * 2 * rank)
            borders = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
            inside, x = np.pad(inside, borders, constant_values=1), np.pad(x, borders)
            attributes = {**attributes, "pads": [0] * 2 * rank}
        total = sum(view for _, view in views(x, attributes, kernel, 0.0))
        if counted and auto_pad.startswith("SAME"):
            return total / math.prod(kernel)
        return total / sum(view for _, view in views(inside, attributes, kernel, 0.0))


class LpPool(Corrected):  # noqa: D101
    def compute(self, attributes: Attributes, x: Any) -> Any:
        """The p-norm of what a window covers."""
        p = attributes.get("p", 2)
        parts = views(np.abs(x) ** p, attributes, attributes["kernel_shape"], 0.0)
        return sum(view for _, view in parts) ** (1 / p)


#: The operators of this file.
WINDOW_OPS = (Conv, ConvTranspose, MaxPool, AveragePool, LpPool)
