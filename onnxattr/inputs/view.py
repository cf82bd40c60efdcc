"""Which part of a photo a network sees, for pictures of its own input."""

from __future__ import annotations

from onnxattr.loading.preprocessing.spec import Preprocessing

Box = tuple[int, int, int, int]


def seen_part(spec: Preprocessing, height: int, width: int) -> Box:
    """The part of a photo that a network sees: top, left, bottom and right, in whole pixels of the photo.

    Beyond the photo there is padding. The nodes that resize it are exact; this is rounded, for pictures.

    Args:
        spec: What happens to the photo.
        height: Its height.
        width: Its width.
    """
    new_height, new_width = _resized(spec, height, width)
    there = spec.crop or spec.size or (round(new_height), round(new_width))
    top, bottom = _along(height, new_height, there[0])
    left, right = _along(width, new_width, there[1])
    return top, left, bottom, right


def _resized(spec: Preprocessing, height: int, width: int) -> tuple[float, float]:
    if spec.resize == "none" or spec.size is None:
        return height, width
    if spec.resize == "stretch":
        return spec.size
    ratios = (spec.size[0] / height, spec.size[1] / width)
    share = spec.size[0] / min(height, width) if spec.resize == "shortest_edge" else min(ratios)
    return height * share, width * share


def _along(here: int, new: float, there: int) -> tuple[int, int]:
    first = (new - there) / 2 * here / new
    return round(first), round(first + there * here / new)
