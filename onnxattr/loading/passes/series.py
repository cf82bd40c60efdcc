"""Convolutions and pools over series, (N, C, L), written as those over images one pixel high, (N, C, 1, L).

ONNX Runtime lays images alone out in blocks of channels, in which it convolves faster. Operators that compute each
element by itself are written over images too where they read one, so that an image goes from one convolution to the
next. No element changes its place; a runtime may add in another order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.subgraphs import graphs_of, is_standard, prune, take_place
from onnxattr.graph.values import dims_of, ints_of
from onnxattr.loading.reading.data_tensor import reshaped
from onnxattr.loading.rows.operators import ELEMENTWISE

#: Operators over windows of a series, and what their attributes say of the height of an image.
_WINDOWS = frozenset("AveragePool Conv ConvTranspose GlobalAveragePool GlobalMaxPool LpPool MaxPool".split())
_HEIGHT = {"kernel_shape": 1, "strides": 1, "dilations": 1, "pads": 0, "output_padding": 0, "output_shape": 1}
#: Operators whose first operand alone is a series.
_ONE_SERIES = frozenset(("BatchNormalization", "Clip", "Pad", "Slice"))
#: Channels fill whole blocks if there are a multiple of so many of them.
_BLOCK = 16
#: Operators whose operands are broadcast to each other.
_BROADCAST = ELEMENTWISE - {"Bernoulli", "CastLike", "Clip", "Dropout", "Identity"}
#: For the axes of a value, those of the image that holds its elements; None for an axis of one element.
_Axes = tuple[int | None, ...]
_IMAGE: _Axes = (0, 1, None, 3)
_SERIES: _Axes = (0, 1, 3)


def compute_series_as_images(
    model: ir.Model, kept: Collection[ir.Value], rules: RuleTable = STANDARD
) -> bool:
    """Writes convolutions and pools over series as those over images one pixel high, in subgraphs too, in place.

    Args:
        model: The model.
        kept: Values that stay, as do the nodes that compute them.
        rules: The rule table that the model is going to be differentiated with; what has a rule of the caller's own
            stays.

    Returns:
        Whether there were any.
    """
    main, found = OpBuilder(model.graph, model.opset_imports[""], prefix="series"), False
    weights: dict[ir.Value, ir.Value] = {}
    for part in list(graphs_of(model.graph)):
        if any(_in_blocks(node) for node in part):
            found = _Images(main, part, kept, rules, weights).write() or found
    if found:
        prune(model.graph, kept)
    return found


class _Images:
    """The images that hold the elements of the values of one graph."""

    def __init__(
        self,
        main: OpBuilder,
        part: ir.Graph,
        kept: Collection[ir.Value],
        rules: RuleTable,
        weights: dict[ir.Value, ir.Value],
    ):
        self.main, self.op, self.part = main, main.inside(part), part
        self.kept, self.rules = kept, rules
        #: Initializers of all graphs, and the same with one more axis.
        self.weights = weights
        #: By value, the image, and for each axis of the value that of the image.
        self.held: dict[ir.Value, tuple[ir.Value, _Axes]] = {}

    def write(self) -> bool:
        """Writes the nodes over series as those over images, from the first on; whether there were any."""
        found = False
        for node in list(self.part):
            y = node.outputs[0] if len(node.outputs) == 1 else None
            if y is None or node.domain not in ("", "ai.onnx") or y in self.kept or y.is_graph_output():
                continue
            if node.op_type in ("Identity", "Squeeze", "Transpose", "Unsqueeze"):
                self._follow(node, y)
            elif self.rules.get(node.op_type) is STANDARD.get(node.op_type):
                end = self.part[-1]
                inputs = self._inputs(node)
                if inputs is not None:
                    self._replace(node, y, inputs, end)
                    found = True
        return found

    def _follow(self, node: ir.Node, y: ir.Value) -> None:
        """Notes the image behind a layout operator; what reads a copy of it reads the image itself."""
        x = node.inputs[0]
        if x is None:
            return
        dims = dims_of(x)
        image, axes = self.held.get(x, (x, _IMAGE))
        if image is x and (dims is None or len(dims) != 4 or dims[2] != 1):
            return
        after = _moved(node, axes)
        if after == _IMAGE:
            ir.convenience.replace_all_uses_with(y, image)
        elif after is not None:
            self.held[y] = image, after

    def _inputs(self, node: ir.Node) -> list[ir.Value | None] | None:
        """What a node reads where it is written over images; None for one that stays."""
        first, *others = node.inputs
        if node.op_type in _WINDOWS:
            return self._window(first, others)
        if node.op_type in _ONE_SERIES:
            image = self._image(first)
            rest = None if image is None else self._settings(node.op_type, others)
            return None if rest is None else [image, *rest]
        if node.op_type != "Concat" and node.op_type not in _BROADCAST:
            return None
        ranks = [-1 if (dims := dims_of(value)) is None else len(dims) for value in node.inputs]
        if -1 in ranks or max(ranks) != 3 or not any(map(self._image, node.inputs)):
            return None
        return [self._image(value) or self._higher(value) for value in node.inputs]

    def _settings(self, op_type: str, others: Sequence[ir.Value | None]) -> Sequence[ir.Value | None] | None:
        """The operands behind the first as they are for an image; None where a run decides them."""
        if op_type == "Slice":
            axes = ints_of(others[2]) if len(others) > 2 else None
            new = None if axes is None else [_SERIES[axis] for axis in axes]
            return None if new is None else [*others[:2], self.op.constant(np.array(new)), *others[3:]]
        if op_type == "Pad":
            pads = ints_of(others[0]) if len(others) < 3 else None
            if pads is None or len(pads) != 6:
                return None
            new = [*pads[:2], 0, *pads[2:5], 0, pads[5]]
            return [self.op.constant(np.array(new, np.int64)), *others[1:]]
        return others

    def _window(self, x: ir.Value | None, others: Sequence[ir.Value | None]) -> list[ir.Value | None] | None:
        dims = dims_of(x)
        read = [value.producer() for value in (x, *others) if value is not None]
        # A runtime computes a convolution between DequantizeLinear and QuantizeLinear in integers.
        quantized = any(node is not None and is_standard(node, "DequantizeLinear") for node in read)
        if x is None or dims is None or len(dims) != 3 or x.dtype not in FLOATS or quantized:
            return None
        kernel = [self._higher(value) for value in others[:1]]
        return [self._image(x) or self._higher(x), *kernel, *others[1:]]

    def _image(self, value: ir.Value | None) -> ir.Value | None:
        """The image of a series; None where there is none yet."""
        image, axes = (None, None) if value is None else self.held.get(value, (None, None))
        return image if axes == _SERIES else None

    def _higher(self, value: ir.Value | None) -> ir.Value | None:
        """A value with an axis of one element before its last, if it has several."""
        dims = dims_of(value)
        if value is None or dims is None or len(dims) < 2:
            return value
        if value.const_value is None or not value.is_initializer() or value.is_graph_input():
            image = self.op.Unsqueeze(value, [len(dims) - 1])
            if len(dims) == 3:
                self.held[value] = image, _SERIES
            return image
        if value not in self.weights:
            *sizes, last = value.const_value.shape.numpy()
            higher = ir.Value(
                name=self.main.unique_name(f"{value.name}/image", exact=True),
                type=value.type,
                shape=ir.Shape([*sizes, 1, last]),
                const_value=reshaped(value.const_value, [*sizes, 1, last]),
            )
            self.main.graph.register_initializer(higher)
            self.weights[value] = higher
        return self.weights[value]

    def _replace(self, node: ir.Node, y: ir.Value, inputs: Sequence[ir.Value | None], end: ir.Node) -> None:
        """Writes a node over images, and its series behind it; what was built behind ``end`` comes before both."""
        (image,) = self.op.append(node.op_type, inputs, _attributes(node))
        made = image.producer()
        assert made is not None
        made.meta.update(node.meta)
        dims = dims_of(y)
        if dims is not None:
            image.shape = ir.Shape([*dims[:2], 1, *dims[2:]])
        series = self.op.Squeeze(image, [2])
        take_place(node, series, end, made)
        self.held[series] = image, _SERIES


def _in_blocks(node: ir.Node) -> bool:
    """Whether a node is a convolution of series whose channels fill whole blocks."""
    dims = dims_of(node.outputs[0]) if is_standard(node, "Conv", "ConvTranspose") else None
    channels = dims[1] if dims is not None and len(dims) in (3, 4) else None
    return isinstance(channels, int) and channels % _BLOCK == 0


def _moved(node: ir.Node, axes: _Axes) -> _Axes | None:
    """The axes of an image in the order that a layout operator gives them; None where a run decides it."""
    if node.op_type == "Identity":
        return axes
    if node.op_type == "Transpose":
        return tuple(axes[axis] for axis in node.attributes.get_ints("perm", range(len(axes))[::-1]))
    given = ints_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if given is None:
        return None
    if node.op_type == "Squeeze":
        gone = {axis % len(axes) for axis in given}
        return tuple(source for axis, source in enumerate(axes) if axis not in gone)
    rank, kept = len(axes) + len(given), iter(axes)
    new = {axis % rank for axis in given}
    return tuple(None if axis in new else next(kept) for axis in range(rank))


def _attributes(node: ir.Node) -> dict[str, Any]:
    """The attributes of a node over series where it is written over images."""
    found = {name: attribute.value for name, attribute in node.attributes.items()}
    if node.op_type == "Concat":
        found["axis"] = _SERIES[found["axis"]]
    if node.op_type in _WINDOWS:
        for name in _HEIGHT.keys() & found.keys():
            half = len(found[name]) // 2 if name == "pads" else 0
            first, second = found[name][:half], found[name][half:]
            one = [_HEIGHT[name]]
            found[name] = [*one, *first, *one, *second] if half else [*one, *second]
    return found
