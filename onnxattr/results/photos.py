"""Photos with their maps, and slices of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr import plots
from onnxattr.errors import ShapeError
from onnxattr.results.captions import batched, captions, gaps
from onnxattr.results.explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SMOOTH = ("GradCAM", "GradCAMPP", "LayerCAM", "ScoreCAM")
#: Channels that a photo can have.
_COLORS = (1, 3)


@dataclass(frozen=True)
class Drawn:
    """Photos with their maps, a row for each sample.

    Attributes:
        images: (N, H, W, C); None to draw the maps alone.
        maps: The maps.
        axis: The channel axis of a map; None where maps have none.
        style: "grain" or "cam".
        names: What is explained in each.
        captions: What else is said of each.
        notes: What is said of each map.
    """

    images: Sequence[np.ndarray] | np.ndarray | None
    maps: np.ndarray
    axis: int | None
    style: str
    names: Sequence[str]
    captions: Sequence[str]
    notes: Sequence[str]


def drawn_photos(explanation: Explanation, name: str, options: dict[str, Any]) -> Drawn:
    """What is drawn of an explained value; takes ``images`` and ``style`` out of the options."""
    maps, axes = batched(explanation, name), explanation.axes.get(name, ())
    axis = axes.index("channel") + explanation.one_sample if "channel" in axes else None
    maps = _slices(maps, axis) if maps.ndim > 4 else maps
    axis = axis if maps.ndim == 4 else None
    images = options.pop("images", None)
    if images is None:
        images = _images_of(explanation, name, axis)
        images = images if images is None or explanation.seen is None else _seen(images, explanation.seen)
    elif len(images) != len(maps):
        raise ShapeError(f"{len(images)} images were given for {len(maps)} samples; expected one for each.")
    style = options.pop("style", None) or ("cam" if explanation.method in _SMOOTH else "grain")
    said = captions(explanation, gap=False)
    names = list(explanation.target_names)
    return Drawn(images, maps, None if axis is None else axis - 1, style, names, said, gaps(explanation))


def photo(explanation: Explanation, name: str, options: dict[str, Any]) -> Figure:
    """The maps over the photos among the inputs, or over ``images``; one panel for each sample."""
    drawn = drawn_photos(explanation, name, options)
    axis = None if drawn.axis is None else drawn.axis + 1
    marks = plots.Marks(
        options.pop("masks", None) or _masks(explanation, drawn.maps.shape, axis),
        options.pop("boxes", ()),
        options.pop("labels", ()),
    )
    method, names, said = explanation.method, drawn.names, drawn.captions
    if len(drawn.maps) == 1:  # beside its map, the photo is told as the input
        names, said = [""], [", ".join(filter(None, [*names, *said]))]
    return plots.grid(
        drawn.images,
        {method: drawn.maps},
        names=names,
        captions=said,
        notes={method: drawn.notes},
        styles={method: drawn.style},
        marks=marks,
        channel_axis=drawn.axis,
        stretch=True,
        **options,
    )


def _images_of(explanation: Explanation, name: str, axis: int | None) -> np.ndarray | None:
    """The photos among the model's inputs, (N, H, W, C); None where there are none."""
    own = [explanation.inputs[name]] if name in explanation.inputs else list(explanation.inputs.values())
    own = [array[None] if explanation.one_sample and array.ndim else array for array in own]
    found = [array for array in own if array.ndim == 4 and len(array) == explanation.sample_count]
    if not found:
        return None
    images = found[0]
    first, last = (images.shape[place] in (*_COLORS, 4) for place in (1, 3))
    if (axis is None or name not in explanation.inputs) and first != last:
        axis = 1 if first else 3  # a map may have its channels elsewhere than a photo
    images = np.moveaxis(images, axis, -1) if axis not in (None, 3) and images.shape[axis] < 65 else images
    if images.shape[-1] in _COLORS:
        return images
    return images[..., :3] if images.shape[-1] == 4 else images.mean(axis=-1, keepdims=True)


def _seen(images: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The part of photos (N, H, W, C) that the network sees, black beyond them."""
    top, left, bottom, right = box
    height, width = images.shape[1:3]
    room = ((max(-top, 0), max(bottom - height, 0)), (max(-left, 0), max(right - width, 0)))
    padded = np.pad(images, ((0, 0), *room, (0, 0)))
    top, left = max(top, 0), max(left, 0)
    found: np.ndarray = padded[:, top : bottom + room[0][0], left : right + room[1][0]]
    return found


def _slices(maps: np.ndarray, axis: int | None) -> np.ndarray:
    """The slice of each volume, over the first axis of its space, that holds the most."""
    if maps.ndim != 5:
        raise ShapeError(
            f"Attributions of shape {maps.shape} cannot be drawn as images; expected (N, H, W) or (N, D, H, W), with "
            "or without a channel axis."
        )
    first = 2 if axis == 1 or (axis is None and maps.shape[1] in _COLORS) else 1
    maps = np.moveaxis(maps, first, 1)
    sizes = np.nan_to_num(np.abs(maps)).sum(axis=(2, 3, 4))
    slices: np.ndarray = maps[np.arange(len(maps)), sizes.argmax(axis=1)]
    return slices


def _masks(explanation: Explanation, shape: tuple[int, ...], axis: int | None) -> list[np.ndarray]:
    """The regions that the targets of a segmentation pick, one (H, W) for each sample; none for other targets."""
    targets = explanation.targets
    if targets.ndim < 3 or len(targets) != shape[0]:
        return []
    space = [size for place, size in enumerate(shape) if place not in (0, 3 if axis is None else axis)]
    for place in (targets.ndim - 1, 1) if targets.ndim == 4 else (None,):
        picked = (targets != 0).any(axis=place) if place is not None else targets != 0
        if list(picked.shape[1:]) == space and not picked.all():
            return list(picked)
    return []
