"""Class activation maps by their formulas, in float64 NumPy, with channels last; and images resized pixel by pixel."""

import numpy as np


def _space(a):
    return tuple(range(1, a.ndim - 1))


def grad_cam(a, g):
    """relu(sum_c mean(g) A)."""
    return np.maximum((g.mean(_space(a), keepdims=True) * a).sum(-1), 0)


def grad_cam_pp(a, g, total=np.mean):
    """The same with alpha-weighted positive gradients; ``total`` is np.mean for Xplique's, np.sum for the paper's."""
    below = 2 * g**2 + g**3 * total(a, axis=_space(a), keepdims=True)
    alphas = g**2 / np.where(below == 0, 1, below)
    weights = total(alphas * np.maximum(g, 0), axis=_space(a), keepdims=True)
    return np.maximum((weights * a).sum(-1), 0)


def grad_cam_pp_paper(a, g):
    """Sums over space, as in the paper."""
    return grad_cam_pp(a, g, np.sum)


def layer_cam(a, g):
    """relu(sum_c relu(g) A)."""
    return np.maximum((np.maximum(g, 0) * a).sum(-1), 0)


CAMS = {
    ("GradCAM", ()): grad_cam,
    ("GradCAMPP", ()): grad_cam_pp,
    ("GradCAMPP", (("variant", "paper"),)): grad_cam_pp_paper,
    ("LayerCAM", ()): layer_cam,
}


def kernel(method, distance):
    """How much a pixel counts at a distance: Keys' cubic with a = -1/2, or a triangle."""
    d = abs(distance)
    if method == "bilinear":
        return max(0.0, 1 - d)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def resized_axis(maps, axis, size, method):
    """One axis resized, each pixel by itself; offsets in 1/1024 of a pixel for "bicubic", as TensorFlow has them."""
    source = np.moveaxis(maps, axis, 0)
    rows = []
    for k in range(size):
        place = (k + 0.5) * len(source) / size - 0.5
        if method == "nearest":
            rows.append(source[int(np.floor(place + 0.5))])
            continue
        first = int(np.floor(place))
        offset = place - first
        offset = round(offset * 1024) / 1024 if method == "bicubic" else offset
        taps = [t for t in range(first - 1, first + 3) if 0 <= t < len(source)]
        weights = [kernel(method, t - first - offset) for t in taps]
        rows.append(sum(w * source[t] for w, t in zip(weights, taps, strict=True)) / sum(weights))
    return np.moveaxis(np.stack(rows), 0, axis)


def resized(maps, sizes, method="bicubic"):
    """(N, ...) with the axes after the first resized; None leaves them."""
    for axis, size in enumerate(sizes if method else (), start=1):
        maps = resized_axis(maps, axis, size, method)
    return maps
