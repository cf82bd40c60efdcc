"""How a map that a method makes at a layer lies over the image that the layer looks at."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from onnxattr.compile.upsampling import resized, spread
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of
from onnxattr.loading.preprocessing.spec import Preprocessing


@dataclass(frozen=True)
class Placement:
    """Where a layer's map, without channels, goes in the image's layout.

    Attributes:
        layer: Name of the layer's value.
        channel: Its channel axis.
        squeezed: The axes of size 1 that its map has and the image has not; the channel axis is one.
        image: Name of the input that the map is shown over; None where none has such axes.
        channel_there: Where the map has its channel axis, of size 1: as the image, or last where that has none.
        image_space: The axes of the image that the others are: height and width, the steps of a series.
        upsampling: "bicubic", "bilinear" or "nearest"; None for a map of the layer's size.
        seen: What part of the image the layer looks at, where that is not all of it.
    """

    layer: str
    channel: int
    squeezed: tuple[int, ...]
    image: str | None
    channel_there: int
    image_space: tuple[int, ...]
    upsampling: str | None
    seen: Preprocessing | None = None

    def placed(self, op: OpBuilder, layer_map: ir.Value, image: ir.Value | None) -> ir.Value:
        """A map over the layer, with one channel, as a map over the image, with one channel where the image has them.

        Args:
            op: Builder on the graph.
            layer_map: The map, in the layer's layout.
            image: The input.
        """
        dims = dims_of(layer_map) or []
        flat = op.Squeeze(layer_map, self.squeezed)
        flat.shape = ir.Shape([dim for axis, dim in enumerate(dims) if axis not in self.squeezed])
        if self.upsampling is not None and image is not None:
            axes = range(1, 1 + len(self.image_space))
            if self.seen is None:
                flat = resized(op, flat, axes, image, self.image_space, self.upsampling)
            else:
                flat = spread(op, flat, image, self.image_space, self.upsampling, self.seen)
        shape = dims_of(flat) or []
        shape.insert(self.channel_there, 1)
        result: ir.Value = op.Unsqueeze(flat, [self.channel_there])
        result.shape = ir.Shape(shape)
        return result
