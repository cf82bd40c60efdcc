"""Maps of a method in every rendering, beside numbers computed by hand."""

import numpy as np

import onnxattr
from support.explained import LABELS
from support.small_models import cnn_nchw, embedding, random, two_inputs

TEXT = embedding()
TOKENS = TEXT.given
TABLE = random(1, 11, 5)


def logits_at(embedded):
    """The logits of the text model and the gradient of the labels' at its embedding, in float64."""
    w, squashed = random(2, 5, 3).astype(np.float64), np.tanh(embedded)
    logits = squashed.mean(axis=1) @ w
    return logits, (1 - squashed**2) * w[:, LABELS].T[:, None] / embedded.shape[1]


def integrated(x, baseline, steps):
    """(x - b) times the trapezoid rule, in float64."""
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    points = np.linspace(0, 1, steps)
    total = sum(w * logits_at(baseline + a * (x - baseline))[1] for w, a in zip(weights, points, strict=True))
    return (x - baseline) * total


REDUCED = {
    None: lambda maps: maps,
    "sum": lambda maps: maps.sum(axis=-1, keepdims=True),
    "mean": lambda maps: maps.mean(axis=-1, keepdims=True),
    "l2": lambda maps: np.sqrt((maps**2).sum(axis=-1, keepdims=True)),
    "prod": lambda maps: maps.prod(axis=-1, keepdims=True),
}


def everywhere(method, x, folder, targets=LABELS, **options):
    """The maps driven, and of the exported renderings."""
    yield method.explain(x, targets)
    renderings = ("batch", "loop") if method._plan.request.method.points > 1 else ("batch",)
    for rendering in renderings:
        method.export(folder / f"{rendering}.onnx", rendering)
        explainer = onnxattr.load(folder / f"{rendering}.onnx")
        assert explainer.explained == method.explained
        yield explainer.explain(x, targets)


IMAGE = cnn_nchw()
SEGMENTS = np.arange(72).reshape(8, 9) // 20


def sums(maps, mask):
    """The sums over each group, in float64."""
    mask = np.broadcast_to(mask, maps.shape[1:])
    wide = maps.astype(np.float64)
    return np.stack(
        [(wide * (mask == k)).reshape(len(maps), -1).sum(axis=1) for k in range(mask.max() + 1)], axis=1
    )


TWO = two_inputs().model
