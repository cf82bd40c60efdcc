"""Maps that explain nothing: what a method must be better than."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: (inputs (N, ...), channel axis, seed) -> maps of the inputs' rank.
Control = Callable[[np.ndarray, int | None, int], np.ndarray]


def random(x: np.ndarray, channel_axis: int | None, seed: int) -> np.ndarray:
    """Uniform numbers, the same for all channels of a pixel."""
    shape = list(x.shape)
    if channel_axis is not None:
        shape[channel_axis] = 1
    return np.random.default_rng([seed, 6]).random(shape, np.float32)


def magnitude(x: np.ndarray, channel_axis: int | None, seed: int) -> np.ndarray:
    """|x|, of images the largest of the channels."""
    size = np.abs(x)
    return np.asarray(size if channel_axis is None else size.max(axis=channel_axis, keepdims=True))


def edges(x: np.ndarray, channel_axis: int | None, seed: int) -> np.ndarray:
    """The steepness of images: the length of the brightness' gradient, by central differences."""
    if channel_axis is None:
        raise ValueError("only images have edges")
    space = tuple(axis for axis in range(1, x.ndim) if axis != channel_axis)
    brightness = x.astype(np.float32).mean(axis=channel_axis, keepdims=True)
    return np.asarray(np.sqrt(sum(step**2 for step in np.gradient(brightness, axis=space))))


def controls(x: np.ndarray, channel_axis: int | None, seed: int = 0) -> dict[str, np.ndarray]:
    """The maps of all controls that the inputs have, by name.

    Args:
        x: The inputs, (N, ...).
        channel_axis: The channel axis of images.
        seed: Seed of the random map.
    """
    found = {"random": random(x, channel_axis, seed), "|x|": magnitude(x, channel_axis, seed)}
    if channel_axis is not None and min(x.shape[axis] for axis in range(1, 4) if axis != channel_axis) > 1:
        found["edges"] = edges(x, channel_axis, seed)
    return found
