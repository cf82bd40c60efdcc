"""A NoiseTunnel's maps by its definition: statistics of explanations of noisy copies."""

from functools import cache

import numpy as np

import onnxattr
from onnxattr import attributions
from onnxattr.attributions.base import Attribution
from onnxattr.compile.method import Method, first_moment
from onnxattr.compile.noise import draw_noise
from support.explained import close
from support.small_models import Small, build, cnn_nchw, cnn_nhwc, node, random, rows, series

KINDS = {
    "mean": lambda maps: maps.mean(axis=0),
    "square": lambda maps: np.square(maps).mean(axis=0),
    "variance": lambda maps: maps.var(axis=0, ddof=1),
}
DRAWS, NOISE, SEED = 4, 0.3, 5
LABELS = np.array([1, -1, 0])


class Gradient(Attribution):
    """g itself."""

    def _method(self):
        return Method(first_moment)


def tunnel(method, kind="mean", **options):
    return attributions.NoiseTunnel(method, DRAWS, NOISE, kind, **{"seed": SEED, "progress": False} | options)


def dict_of(given):
    return given if isinstance(given, dict) else {"x": given}


def maps_of(result):
    """The maps of all explained values in one array (N, ...)."""
    found = list(result.values()) if isinstance(result, dict) else [result]
    return np.concatenate([array.reshape(len(array), -1) for array in found], axis=1)


def explicit(method, given, kind, noise=NOISE, draws=DRAWS, seed=SEED, labels=LABELS):
    """The statistic in float64, from explanations of copies that get the same noise; the class is that of x."""
    arrays = dict_of(given)
    drawn = [
        draw_noise(seed, array.shape, draws, position=position)
        for position, array in enumerate(arrays.values())
    ]
    predicted = method.predict(given).argmax(axis=1)
    targets = np.where(labels < 0, predicted, labels)
    maps = []
    for draw in range(draws):
        noisy = {
            name: array + np.float32(noise) * e[draw]
            for (name, array), e in zip(arrays.items(), drawn, strict=True)
        }
        maps.append(maps_of(method.explain(noisy if isinstance(given, dict) else noisy["x"], targets)))
    return KINDS[kind](np.stack(maps).astype(np.float64))


def agrees(found, expected, tolerance):
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def everywhere(make, given, expected, tolerance, folder, labels=LABELS):
    """A tunnel driven at several bounds, and exported in both renderings."""
    for batch_size in (1, 3, None):
        made = make(batch_size)
        agrees(maps_of(made.explain(given, labels)), expected, tolerance)
        for rendering in ("batch", "loop") if batch_size == 3 else ():
            made.export(folder / "tunnel.onnx", rendering)
            loaded = onnxattr.load(folder / "tunnel.onnx", seed=SEED)
            agrees(maps_of(loaded.explain(given, labels)), expected, tolerance)
            close(loaded.predict(given), made.predict(given))


# Around any method


METHODS = {
    "Saliency": {},
    "IntegratedGradients": {"steps": 5, "baseline_value": 0.2},
    "GuidedBackprop": {},
    "GradCAM": {},
    "GradCAMPP": {"variant": "paper"},
    "LayerCAM": {"upsampling": None},
    "GuidedGradCAM": {"reducer": "max"},
}


def last_state() -> Small:
    """The last state of an LSTM, whose states at the steps are left out."""
    nodes = [
        node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        node("LSTM", ["steps", "w", "r"], ["", "last"], hidden_size=3),
        node("Squeeze", ["last", "first"], ["y"]),
    ]
    weights = {"w": random(1, 1, 12, 4), "r": random(2, 1, 12, 3), "first": np.array([0])}
    return Small(build(nodes, {"x": ["N", 5, 4]}, {"y": ["N", 3]}, weights), {"x": rows(5, 5, 4)}, 3)


MODELS = {"nchw": cnn_nchw, "nhwc": cnn_nhwc, "series": series, "last state": last_state}


@cache
def small(name) -> Small:
    return MODELS[name]()
