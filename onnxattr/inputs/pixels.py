"""How the pixels of a photo go into a model: which input takes them, in which layout and type, and of which size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ShapeError
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of, shape_text
from onnxattr.loading.channels import channel_axis_of_input
from onnxattr.loading.prepared import Prepared

_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class PixelInput:
    """An input that takes pixels, 0 to 255.

    Attributes:
        name: The input.
        dtype: "uint8" or "float32".
        channel_axis: 1 or 3; None for grey images (N, H, W).
        channels: 1, 3 or 4.
        height: The height of the photo; None for any.
        width: Its width; None for any.
    """

    name: str
    dtype: np.dtype
    channel_axis: int | None
    channels: int
    height: int | None
    width: int | None

    def array(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """The pixels (H, W, C) of one photo as a batch of one.

        Raises:
            ShapeError: If the model takes photos of another size.
        """
        height, width = pixels.shape[:2]
        if height != (self.height or height) or width != (self.width or width):
            raise ShapeError(
                f"{name} has {width} x {height} pixels; the input {self.name!r} takes {self.width} x {self.height}. "
                "Resize it, or let the model do so: --preprocess (preprocess= in Python) puts a resize in front."
            )
        batch = pixels[None].astype(self.dtype)
        if self.channel_axis is None:
            return batch[..., 0]
        return np.ascontiguousarray(np.moveaxis(batch, 3, self.channel_axis))


def pixel_input(prepared: Prepared, name: str | None = None) -> PixelInput:
    """The input of a model that takes pixels as they are in a file.

    That is the input of preprocessing in the graph; one of uint8; or one of floats that layers of the model normalise.

    Args:
        prepared: The model.
        name: Which input it is, where other files are for the others; None for the only one.

    Raises:
        ShapeError: If there is none, or the model has other inputs beside it: says what to do.
    """
    spec, names = prepared.preprocessing, [str(value.name) for value in prepared.inputs]
    if spec is not None and spec.in_graph and name in (None, spec.name):
        found = PixelInput(
            spec.name,
            np.dtype(spec.dtype),
            3 if spec.layout == "NHWC" else 1,
            spec.channels,
            spec.height,
            spec.width,
        )
    else:
        found = _own(prepared, name)
    if len(names) > 1 and name is None:
        others = [name for name in names if name != found.name]
        raise ShapeError(
            f"A photo is for the input {found.name!r}, and the model also takes {others}: name the input of each file, "
            f"{found.name}=photos/ {others[0]}=FILE (in Python a dict), or give a .npz file with an array for each."
        )
    return found


def _own(prepared: Prepared, name: str | None) -> PixelInput:
    """An input of the model's own that takes pixels, of this name if there is one."""
    images = [value for value in prepared.inputs if _is_image(value) and name in (None, value.name)]
    if not images and name is not None:
        raise ShapeError(f"The input {name!r} takes no photo; the model's are {_listed(prepared.inputs)}.")
    if not images:
        raise ShapeError(f"The model takes no photo; its inputs are {_listed(prepared.inputs)}.")
    for value in images:
        meaning = prepared.meaning.inputs.get(str(value.name))
        normalised = value.dtype in FLOATS and meaning is not None and meaning.normalized_by
        if value.dtype == ir.DataType.UINT8 or normalised:
            return _described(value)
    if prepared.preprocessing is not None:
        raise ShapeError(
            f"The model's file says how a photo becomes its input {_listed(images[:1])}, and leaves it to the caller: "
            "make the method, or export the explainer, with preprocess='model' (--preprocess model)."
        )
    raise ShapeError(
        f"The model does not say how a photo becomes its input {_listed(images[:1])}: add --preprocess with the "
        "preprocessing it was trained with (imagenet, keras-tf, keras-caffe, keras-torch, 0..1 or FILE.json; "
        "preprocess= in Python), once for the file with convert or export, or each time with explain."
    )


def _is_image(value: ir.Value) -> bool:
    dims = dims_of(value) or []
    if value.dtype not in (*FLOATS, ir.DataType.UINT8) or len(dims) not in (3, 4):
        return False
    axis = channel_axis_of_input(value)
    return axis is None if len(dims) == 3 else axis in (1, 3) and dims[axis] in (*_CHANNELS, None)


def _described(value: ir.Value) -> PixelInput:
    dims = dims_of(value) or []
    axis = channel_axis_of_input(value) if len(dims) == 4 else None
    sides = [
        dim if isinstance(dim, int) else None for place, dim in enumerate(dims) if place not in (0, axis)
    ]
    given: Any = 1 if axis is None else dims[axis]
    channels = given if given in _CHANNELS else 3
    assert value.dtype is not None
    return PixelInput(str(value.name), value.dtype.numpy(), axis, channels, sides[0], sides[1])


def _listed(values: list[ir.Value]) -> str:
    parts = []
    for value in values:
        kind = value.dtype.name.lower() if value.dtype else "?"
        parts.append(f"{value.name!r}, {kind} {shape_text(dims_of(value))}")
    return "; ".join(parts)
