"""One picture of several results: photos of several sizes beside each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnxattr import plots
from onnxattr.errors import ParameterError
from onnxattr.results.explanation import Explanation
from onnxattr.results.photos import drawn_photos
from onnxattr.results.picture import kind_of, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sheet(
    found: Sequence[Explanation], path: str | os.PathLike[str] | None = None, title: str | None = None
) -> Figure:
    """Draws results of one method, which may be of photos of several sizes, into one picture.

    Args:
        found: The results; several only of photos.
        path: Where to write the figure.
        title: Its heading; the method and the model's file unless given.

    Raises:
        ParameterError: If several results are no photos, or the path has another suffix.
        ShapeError: If they cannot be drawn.
        RuntimeMissingError: If matplotlib is not installed.
    """
    first = found[0]
    name = next(iter(first.attributions))
    title = title_of(first, name) if title is None else title
    if len(found) == 1:
        return first.plot(path=path, title=title)
    if kind_of(first, name) != "photo":
        raise ParameterError(
            "Several results make one picture only if they are of photos; draw each by itself."
        )
    drawn = [drawn_photos(each, name, {}) for each in found]
    images = [image for part in drawn if part.images is not None for image in part.images]
    return plots.grid(
        images or None,
        {first.method: [array for part in drawn for array in part.maps]},
        names=[name for part in drawn for name in part.names],
        captions=[caption for part in drawn for caption in part.captions],
        notes={first.method: [note for part in drawn for note in part.notes]},
        styles={first.method: drawn[0].style},
        channel_axis=drawn[0].axis,
        stretch=True,
        title=title,
        path=path,
    )
