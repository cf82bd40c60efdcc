"""What happens to an image before a network sees it, as data that a model's file carries.

The metadata entry ``onnxattr.preprocessing`` is a JSON object with the fields of ``Preprocessing``. Where ``in_graph``
is true, the file's nodes do it and its input takes pixels; where it is false, the file says what its input expects, and
whoever reads pictures puts it in front of the model, with the parameter ``preprocess`` of a method.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxattr.errors import ModelError, ParameterError

KEY = "onnxattr.preprocessing"
VERSION = 1
PLACES = ("pixels", "input")
DTYPES = ("uint8", "float32")
LAYOUTS = ("NHWC", "NCHW")
RESIZES = ("none", "stretch", "shortest_edge", "letterbox")
KERNELS = ("nearest", "bilinear", "bicubic")
ORDERS = ("RGB", "BGR")


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop or pad, order the channels, then (x * scale - mean) / std.

    Attributes:
        feeds: Name of the model's own input, which the result goes into; empty where that is not known yet.
        name: Name of the input that takes pixels.
        dtype: "uint8", or "float32" for the same numbers, 0 to 255, as floats.
        layout: "NHWC" or "NCHW", that of the pixels.
        channels: 3 for RGB, 1 for grey.
        height: The pixels' height; None for any.
        width: The pixels' width; None for any.
        resize: "none"; "stretch" to ``size``; "shortest_edge": to ``size``, the length of the shorter side, keeping the
            aspect; "letterbox": into ``size``, keeping the aspect, with ``pad`` around it.
        size: (height, width) that are resized to, both the same for "shortest_edge"; None without a resize.
        kernel: "nearest", "bilinear" or "bicubic" (Keys' with -0.5, as Pillow and TensorFlow have it).
        antialias: Whether the kernel widens where the image shrinks, as Pillow's and torchvision's does, and
            ``tf.image.resize`` does on request.
        crop: (height, width) of the middle that is cut out afterwards; None for all of it. What is beyond the image is
            ``pad``.
        pad: The colour, of 0 to 255, of what lies beside the image.
        order: "RGB" or "BGR", the order that the model takes; pixels are RGB always.
        scale: What pixels are multiplied by.
        mean: What is subtracted then, one for each channel in the model's order, or one for all.
        std: What it is divided by then.
        in_graph: Whether the file's nodes do all this.
        attributions_at: "pixels": attributions are those of the pixels given; "input": of the model's own input.
        source: Where this is known from, in words.
    """

    feeds: str = ""
    name: str = "pixels"
    dtype: str = "uint8"
    layout: str = "NHWC"
    channels: int = 3
    height: int | None = None
    width: int | None = None
    resize: str = "stretch"
    size: tuple[int, int] | None = None
    kernel: str = "bilinear"
    antialias: bool = True
    crop: tuple[int, int] | None = None
    pad: tuple[float, ...] = (0.0,)
    order: str = "RGB"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    in_graph: bool = False
    attributions_at: str = "pixels"
    source: str = ""

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            ParameterError: Names the field, what was given and what is expected.
        """
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise _wrong(name, getattr(self, name), f"one of {', '.join(map(repr, allowed))}")
        if self.channels not in (1, 3):
            raise _wrong("channels", self.channels, "3 (RGB) or 1 (grey)")
        for name in ("height", "width"):
            side = getattr(self, name)
            if side is not None and not _is_side(side):
                raise _wrong(name, side, "a number of pixels, or null for any")
        for name in ("size", "crop"):
            object.__setattr__(self, name, _sides(name, getattr(self, name)))
        if self.resize != "none" and self.size is None and self.in_graph:
            raise _wrong("size", self.size, f"[height, width] for resize={self.resize!r}")
        for name in ("pad", "mean", "std"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name), self.channels))
        object.__setattr__(self, "scale", _number("scale", self.scale))
        if self.scale == 0 or 0 in self.std:
            raise _wrong("scale" if self.scale == 0 else "std", 0, "numbers other than 0")
        if self.order == "BGR" and self.channels != 3:
            raise _wrong("order", self.order, "'RGB' for images of one channel")

    @property
    def at_pixels(self) -> bool:
        """Whether attributions are those of the pixels given."""
        return self.attributions_at == "pixels"

    def text(self) -> str:
        """The metadata entry."""
        return json.dumps({"version": VERSION} | dataclasses.asdict(self))


def read_preprocessing(metadata: Mapping[str, str]) -> Preprocessing | None:
    """The preprocessing that a model's metadata tell of; None for none.

    Raises:
        ModelError: If the entry is damaged, or of a newer version.
    """
    text = metadata.get(KEY)
    if not text:
        return None
    try:
        found = json.loads(text)
        version = found.pop("version", None)
        if version != VERSION:
            raise ValueError(f"version {version!r}, expected {VERSION}")
        return Preprocessing(**found)
    except (ValueError, TypeError, AttributeError, RecursionError, ParameterError) as error:
        raise ModelError(
            f"The metadata entry {KEY!r} cannot be read ({error}); write it again with preprocess=, or remove it."
        ) from error


_CHOICES: dict[str, tuple[Any, ...]] = {
    "dtype": DTYPES, "layout": LAYOUTS, "resize": RESIZES, "kernel": KERNELS, "antialias": (True, False),
    "order": ORDERS, "in_graph": (True, False), "attributions_at": PLACES,
}  # fmt: skip


def _is_side(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and 0 < given < 2**16


def _sides(name: str, given: Any) -> tuple[int, int] | None:
    if given is None:
        return None
    sides = (given, given) if _is_side(given) else given
    if not isinstance(sides, (list, tuple)) or len(sides) != 2 or not all(map(_is_side, sides)):
        raise _wrong(name, given, "[height, width] in pixels")
    return sides[0], sides[1]


def _numbers(name: str, given: Any, channels: int) -> tuple[float, ...]:
    numbers = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    if len(numbers) not in (1, channels):
        raise _wrong(name, given, f"one number, or {channels}, one for each channel")
    return tuple(_number(name, number) for number in numbers)


def _number(name: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
        raise _wrong(name, given, "finite numbers")
    return float(given)


def _wrong(name: str, given: Any, expected: str) -> ParameterError:
    return ParameterError(f"preprocess: {name} is {given!r}; expected {expected}.")
