"""Explanations beside the inputs that they explain: shapes that fit, finite numbers, elements that change together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxattr.errors import NonFiniteError, ParameterError, ShapeError
from onnxattr.running.given.arrays import as_array
from onnxattr.running.given.tables import by_name

#: How maps are told in errors.
_FITS = "one map per input, of the input's shape; an axis may be 1, or for channels be absent"


def as_maps(explanations: Any) -> np.ndarray:
    """Explanations as an array of finite numbers, (N, ...); in float32 those of fewer bits, whose means would round.

    Raises:
        NonFiniteError: If a number is NaN or infinite.
        ShapeError: If they are no array, or empty.
    """
    if isinstance(explanations, Mapping) or (
        isinstance(explanations, (list, tuple)) and len({np.shape(m) for m in explanations}) > 1
    ):
        raise ShapeError(
            "The explanations are those of several inputs; a metric takes the maps of one. Explain one with "
            "wrt=<name>, or give one of the maps."
        )
    maps = as_array(explanations, "What was given as explanations")
    if maps.ndim < 1 or not maps.size:
        raise ShapeError(f"The explanations have shape {maps.shape}; expected one map per input.")
    if maps.dtype.kind != "f" or maps.dtype.itemsize < 4:
        maps = maps.astype(np.float32)
    bad = np.argwhere(~np.isfinite(maps))
    if len(bad):
        raise NonFiniteError(
            f"The explanation of sample {bad[0][0]} holds {maps[tuple(bad[0])]} (at {tuple(map(int, bad[0][1:]))}); "
            "nothing can be ranked there. Explain with check_finite='error' to see which node made it."
        )
    return maps


def aligned(
    explanations: Any, x: np.ndarray, channel_axis: int | None, order: list[int] | None = None
) -> np.ndarray:
    """Maps of the inputs' rank, each axis of the inputs' size or 1.

    Args:
        explanations: Maps of the inputs' shape, or with reduced axes, which stay with size 1 or are absent.
        x: The inputs, (N, ...).
        channel_axis: The channel axis of images, series and volumes, the first that a map may lack; None for the last.
        order: Where the columns of the maps stand in the inputs; None where they stand alike.

    Raises:
        NonFiniteError: If a number is NaN or infinite.
        ShapeError: If the shapes do not fit.
    """
    maps = as_maps(explanations)
    if order is not None and maps.shape == x.shape:
        maps, given = np.empty_like(maps), maps
        maps[:, order] = given
    if maps.shape == (*x.shape, 1):
        maps = maps[..., 0]  # a class activation map of images without channels
    if maps.ndim == x.ndim - 1 and x.ndim > 2:
        axes = [x.ndim - 1 if channel_axis is None else channel_axis, x.ndim - 1, 1]
        fitting = [axis for axis in axes if maps.shape == x.shape[:axis] + x.shape[axis + 1 :]]
        maps = np.expand_dims(maps, fitting[0]) if fitting else maps
    fits = maps.ndim == x.ndim and len(maps) == len(x)
    fits = fits and all(m in (1, n) for m, n in zip(maps.shape[1:], x.shape[1:], strict=True))
    if not fits:
        raise ShapeError(f"The explanations have shape {maps.shape}, the inputs {x.shape}; expected {_FITS}.")
    return maps


def ranked_features(maps: np.ndarray, channel_axis: int | None) -> tuple[np.ndarray, int]:
    """Place of each feature in the order of falling attribution, and the number of features.

    Channels of images are one feature, of the mean attribution; so is what shares an element of the map. Equal
    attributions have the order of NumPy's sort, as in Xplique.

    Returns:
        int32 ranks of the maps' shape, channels of images reduced to 1; how many there are in a sample.
    """
    if channel_axis is not None and maps.shape[channel_axis] > 1:
        maps = maps.mean(axis=channel_axis, keepdims=True)
    flat = maps.reshape(len(maps), -1)
    falling = np.argsort(flat, axis=-1)[:, ::-1]
    ranks = np.empty(flat.shape, np.int32)
    np.put_along_axis(ranks, falling, np.arange(flat.shape[1], dtype=np.int32)[None], axis=1)
    return ranks.reshape(maps.shape), flat.shape[1]


def baselines(mode: Any, x: np.ndarray, features: Mapping[str, Sequence[str]]) -> np.ndarray:
    """What features are set to, broadcastable to the inputs.

    Args:
        mode: A number, an array that broadcasts to the inputs, or a function of all inputs that gives one of these;
            entries that have names are matched with the columns.
        x: The inputs, (N, ...).
        features: The names of the columns of the input, if it has some.

    Raises:
        ParameterError: If it is none of these, or not finite.
    """
    try:
        given = mode(x) if callable(mode) else mode
        named = by_name(given, features, "baseline_mode")
        found = np.asarray(as_array(given if named is None else named, "baseline_mode"), x.dtype)
        np.broadcast_to(found, x.shape)
    except (ShapeError, ValueError, TypeError) as error:
        raise ParameterError(
            f"baseline_mode gives no number and no array that broadcasts to the inputs' shape {x.shape}: {error}."
        ) from error
    if not np.isfinite(found).all():
        raise ParameterError("baseline_mode holds NaN or infinite values; expected finite numbers.")
    return np.broadcast_to(found, x.shape)
