"""How alike two arrays are: Spearman's rank correlation and the structural similarity of images."""

from __future__ import annotations

import numpy as np

_EPSILON = 1e-8


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of each row's values from 0 on; equal values share the mean of their ranks. (B, F) to float64 (B, F)."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    new = np.ones(ordered.shape, bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = np.cumsum(new.ravel()) - 1
    counts = np.bincount(group)
    places = np.tile(np.arange(values.shape[1], dtype=np.float64), len(values))
    means = np.bincount(group, weights=places) / counts
    found = np.empty(values.shape)
    np.put_along_axis(found, order, means[group].reshape(values.shape), axis=1)
    return found


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each row, (B, F) and (B, F) to (B,); 0 where a row is constant."""
    a, b = (r - r.mean(axis=1, keepdims=True) for r in (ranks(a), ranks(b)))
    scale = np.sqrt((a**2).mean(axis=1) * (b**2).mean(axis=1))
    return np.asarray((a * b).mean(axis=1) / np.where(scale > 0, scale, 1.0))


def ssim(
    a: np.ndarray, b: np.ndarray, window: int = 11, sigma: float = 1.5, k1: float = 0.01, k2: float = 0.03
) -> np.ndarray:
    """Structural similarity of pairs of images (Wang et al., 2004), 1 for equal ones.

    A Gaussian window, no padding, the mean over places and channels; the range of values is that of both images. A
    window larger than the image is made smaller, to an odd number.

    Args:
        a: Images, (B, H, W, C).
        b: Images of the same shape.
        window: Width of the window in pixels.
        sigma: Its standard deviation in pixels.
        k1: Weight of the constant beside the means.
        k2: Weight of the constant beside the variances.

    Returns:
        (B,), float64; 1 where both images hold one and the same value.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    both = np.stack([a, b]).reshape(2, len(a), -1)
    span = both.max(axis=(0, 2)) - both.min(axis=(0, 2))
    window = min(window, a.shape[1], a.shape[2])
    window -= 1 - window % 2
    weights = np.exp(-(((np.arange(window) - window // 2) / sigma) ** 2) / 2)
    weights /= weights.sum()

    def smooth(images: np.ndarray) -> np.ndarray:
        for axis in (1, 2):
            images = np.lib.stride_tricks.sliding_window_view(images, window, axis) @ weights
        return images

    c1, c2 = (((k * np.where(span > 0, span, 1.0)) ** 2)[:, None, None, None] for k in (k1, k2))
    mean_a, mean_b = smooth(a), smooth(b)
    product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    luminance = (2 * product + c1) / (squares + c1)
    contrast = (2 * (smooth(a * b) - product) + c2) / (smooth(a**2 + b**2) - squares + c2)
    return np.where(span > 0, (luminance * contrast).mean(axis=(1, 2, 3)), 1.0)
