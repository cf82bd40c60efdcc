"""Attribution maps over images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnxattr.errors import ParameterError, ShapeError
from onnxattr.plots.colors import color_limits, numbers, require_finite, require_some
from onnxattr.plots.sheet import cam_scale, color_scale, matplotlib_module

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

STYLES = ("grain", "cam")
#: Bicubic upsampling of a map that is nowhere negative goes below 0 by less than this share of its size.
_UNDERSHOOT = 0.2
#: Images with fewer pixels on a side are drawn as squares.
_SQUARES = 64


def heatmap(
    ax: "Axes",
    attribution: np.ndarray,
    image: np.ndarray | None = None,
    *,
    percentile: float = 99.0,
    opacity: float = 0.95,
    channel_axis: int | None = None,
    style: str = "grain",
    stretch: bool = False,
) -> "AxesImage":
    """Draw an attribution map of an image, over the image in grey if it is given. NaN and infinity are bright green.

    Args:
        ax: the axes to draw into; its ticks and frame are removed.
        attribution: (H, W), (H, W, C) or (C, H, W), float. Channels are summed, for display only.
        image: (H, W), (H, W, C) or (C, H, W) with one or three channels; uint8, or float in any range.
        percentile: where colours saturate, see `color_limits`.
        opacity: of the strongest colour over the image, in (0, 1].
        channel_axis: axis of the channels in `attribution`; by default the first or the last, whichever fits the
            image or, without one, has one or three channels.
        style: "grain": each number one square over the grey image; "cam": for coarse maps, smooth over the image in
            its own colours; what upsampling undershoots is drawn as 0.
        stretch: whether a map of another size than the image is stretched over it.

    Returns:
        The drawn map, ready for `figure.colorbar`.

    Raises:
        ShapeError: a shape is none of the above, or the two do not fit, or the map has no finite number.
        ParameterError: `percentile`, `opacity` or `style` is out of range.
        RuntimeMissingError: matplotlib is not installed.
    """
    if not 0 < opacity <= 1:
        raise ParameterError(f"opacity={opacity}; expected a number above 0 and at most 1")
    if style not in STYLES:
        raise ParameterError(f"style={style!r}; expected one of {STYLES}")
    photo = None if image is None else displayable(image)
    size = None if photo is None or stretch else photo.shape[:2]
    channels = _channels_last(attribution, "attribution", channel_axis, size)
    require_some(channels, "the attribution")
    values = channels.sum(axis=-1)
    low, high = color_limits(values, percentile)
    if style == "cam" and np.nanmin(values) > -_UNDERSHOOT * high:
        low = 0.0
    ax.set_axis_off()
    extent = None
    if photo is not None:
        below = show_photo(ax, photo, dimmed=style == "grain")
        extent = below.get_extent() if values.shape != photo.shape[:2] else None
    see_through = opacity if photo is not None else None
    smooth = style == "cam"
    colors = cam_scale(see_through) if smooth and low == 0 else color_scale(low < 0, see_through)
    shown = np.ma.masked_invalid(values)
    # Smooth maps of numbers; of single squares no colours that stand for other numbers, but where they are too small.
    by_number = smooth and not np.ma.is_masked(shown)
    return ax.imshow(
        shown,
        cmap=colors,
        vmin=low,
        vmax=high,
        extent=extent,
        interpolation="bicubic" if by_number else "auto",
        interpolation_stage="data" if by_number else "rgba",
    )


def show_photo(ax: "Axes", photo: np.ndarray, dimmed: bool = False) -> "AxesImage":
    """Draw what `displayable` returned: as it is, or pale and grey below a map; few pixels as squares."""
    between = "lanczos" if min(photo.shape[:2]) >= _SQUARES else "nearest"
    if not dimmed:
        return ax.imshow(photo, cmap="gray", vmin=0, vmax=1, interpolation=between)
    grey = photo @ [0.299, 0.587, 0.114] if photo.ndim == 3 else photo
    return ax.imshow(grey, cmap="gray", vmin=-0.7, vmax=1, interpolation=between)


def outline(ax: "Axes", mask: np.ndarray) -> None:
    """Draw the outline of the region where a mask (H, W) is not 0, white on a dark edge.

    A mask of another size than the image is stretched over it.
    """
    inside = np.pad(np.asarray(mask) != 0, 1).astype(float)
    if inside.any():
        left, right, bottom, top = ax.images[0].get_extent()
        room = {0: bottom - top, 1: right - left}
        y, x = (
            (np.arange(-1, size + 1) + 0.5) * room[i] / size - 0.5 for i, size in enumerate(np.shape(mask))
        )
        for color, width in (("black", 3.5), ("white", 1.6)):
            ax.contour(x, y, inside, levels=[0.5], colors=color, linewidths=width)
        ax.set_xlim(left, right)
        ax.set_ylim(bottom, top)


def frames(ax: "Axes", boxes: Sequence[Sequence[float]], labels: Sequence[str] = ()) -> None:
    """Draw boxes (x0, y0, x1, y1) in pixels of the image, each with its label inside at the top left."""
    rectangle = matplotlib_module(".patches").Rectangle
    for index, (left, top, right, bottom) in enumerate(boxes):
        for color, width in (("black", 3.5), ("white", 1.6)):
            place = (left - 0.5, top - 0.5)
            ax.add_patch(
                rectangle(place, right - left, bottom - top, fill=False, edgecolor=color, linewidth=width)
            )
        if index < len(labels) and labels[index]:
            text = ax.text(left, top, labels[index], size=10, color="white", va="top", parse_math=False)
            text.set_bbox({"facecolor": "black", "alpha": 0.6, "pad": 1.5, "linewidth": 0})
            text.set_clip_on(True)


def displayable(image: np.ndarray) -> np.ndarray:
    """Bring an image into the form that `imshow` takes.

    Args:
        image: (H, W), (H, W, C) or (C, H, W) with one or three channels; uint8, or float in any range: one that
            leaves [0, 1] is stretched to it, whole numbers from 0 to 255 are divided by 255. One number everywhere
            that cannot be stretched is grey.

    Returns:
        (H, W) or (H, W, 3), float64 in [0, 1].

    Raises:
        ShapeError: the shape is none of the above, or a value is NaN or infinite.
    """
    array = _channels_last(image, "image")
    if array.shape[-1] not in (1, 3):
        raise ShapeError(f"the image has {array.shape[-1]} channels; expected one (grey) or three (RGB)")
    require_finite(array, "the image")
    low, high = array.min(), array.max()
    if np.asarray(image).dtype == np.uint8 or (low >= 0 and 2 < high <= 255 and _whole(array)):
        array = array / 255
    elif low < 0 or high > 1:
        array = (array - low) / (high - low) if low < high else np.full_like(array, 0.5)
    return array[..., 0] if array.shape[-1] == 1 else array


def _whole(array: np.ndarray) -> bool:
    """Whether an array holds whole numbers, as the bytes of a photo, and not the two of a mask."""
    return bool((array == np.round(array)).all()) and len(np.unique(array)) != 2


def _channels_last(
    array: np.ndarray, what: str, axis: int | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Return (H, W, C) float64 whichever way the channels lie; `size` is the (H, W) to be found, if known."""
    values = numbers(array, f"the {what}")
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim == 3:
        both = [np.moveaxis(values, place, -1) for place in ((-1, 0) if axis is None else (axis,))]
        if size:
            found = [moved for moved in both if moved.shape[:2] == size]
        else:
            found = [moved for moved in both if moved.shape[2] in (1, 3) or axis is not None]
        if what == "attribution" and len(found) > 1 and found[0].shape[2] > 1:
            raise ShapeError(
                f"the attribution has shape {values.shape}: its channels may be the first axis or the last. Give "
                "channel_axis=0 or channel_axis=-1, or the sum over the channels"
            )
        if found:
            return found[0]
    expected = f"({size[0]}, {size[1]}), as the image, " if size else "(H, W) "
    raise ShapeError(
        f"the {what} has shape {np.shape(array)}; expected {expected}with or without a channel axis, first or last, "
        "and no batch axis. Draw one image at a time"
    )
