"""Random subsets of a sample's features, of single elements or of the cells of a grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxattr.errors import ParameterError
from onnxattr.running.given.arrays import as_array


class Subsets:
    """Which elements of a sample stay, for a number of draws that all samples share or each has its own.

    Args:
        shape: The samples' shape, (N, ...).
        channels: The channel axis of images, volumes and series; None for the last. Both layouts have the same subsets.
        draws: Number of draws.
        grid_size: Cells along each axis of images, and along time; None for single elements.
        percent: Share of the cells that are set to the baseline, on average.
        seed: Seed of the draws.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        channels: int | None,
        draws: int,
        grid_size: int | None,
        percent: float,
        seed: int,
    ):
        channels = len(shape) - 1 if channels is None else channels
        cells, turned = list(shape[1:]), len(shape) == 3 and channels == 1
        if len(shape) == 3 and grid_size is not None:
            cells[2 - channels] = grid_size
        elif len(shape) > 3:
            cells = [n if grid_size is None else grid_size for n in cells]
            cells[channels - 1] = 1
        drawn = cells[::-1] if turned else cells
        kept = np.random.default_rng([seed, 0]).random((1, draws, *drawn)) > percent
        kept = np.swapaxes(kept, 2, 3) if turned else kept
        # The nearest cell to the middle of each element.
        self._places = [
            np.minimum(((np.arange(n) + 0.5) * (c / n)).astype(int), c - 1) if c > 1 else np.zeros(1, int)
            for c, n in zip(cells, shape[1:], strict=True)
        ]
        self._kept, self.draws = kept, draws

    @classmethod
    def given(cls, masks: Any, shape: tuple[int, ...]) -> Subsets:
        """Masks from outside, 1 where an element stays: (S, ...) for all samples, or (N, S, ...).

        Raises:
            ParameterError: If they do not broadcast to the samples' shape.
        """
        kept = as_array(masks, "masks")
        kept = kept[None] if kept.ndim == len(shape) else kept
        fits = kept.ndim == len(shape) + 1 and len(kept) in (1, shape[0])
        fits = fits and all(k in (1, n) for k, n in zip(kept.shape[2:], shape[1:], strict=True))
        if not fits or not np.isin(kept, (0, 1)).all():
            raise ParameterError(
                f"masks has shape {np.shape(masks)}; expected zeros and ones of shape (draws, ...) or (N, draws, ...) "
                f"for inputs of shape {shape}, whose axes may be 1."
            )
        subsets = cls.__new__(cls)
        subsets._kept, subsets.draws = kept.astype(bool), kept.shape[1]
        subsets._places = [np.arange(n) for n in kept.shape[2:]]
        return subsets

    def keeps(self, image: np.ndarray, draw: np.ndarray) -> np.ndarray:
        """Whether elements stay, for some (sample, draw) pairs, (R, ...); axes that share may be 1."""
        kept: np.ndarray = self._kept[image % len(self._kept), draw]
        for axis, places in enumerate(self._places):
            kept = np.take(kept, places, axis=axis + 1)
        return kept

    def sums(self, maps: np.ndarray) -> np.ndarray:
        """What the maps add up to on the elements that do not stay, (N, draws), float64.

        Args:
            maps: (N, ...), of the samples' rank; axes may be 1.
        """
        found = np.empty((len(maps), self.draws))
        for image, phi in enumerate(maps.astype(np.float64)):
            kept = self._kept[image % len(self._kept)]
            for axis, places in enumerate(self._places):
                kept = np.take(kept, places, axis=axis + 1)
            removed = 1.0 - kept
            # Elements that share a mask are added first, so are masks that share an element of the map.
            phi = phi.sum(axis=tuple(i for i, n in enumerate(kept.shape[1:]) if n == 1), keepdims=True)
            shared = tuple(i + 1 for i, n in enumerate(phi.shape) if n == 1)
            found[image] = removed.sum(axis=shared, keepdims=True).reshape(self.draws, -1) @ phi.ravel()
        return found
