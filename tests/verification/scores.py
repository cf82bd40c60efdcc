"""Compares every method with every kind of score in every rendering with TensorFlow's tape, and prints the table.

Run as ``python tests/verification/scores.py``; ``--write`` puts the table into docs/scores.md.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
from xplique.commons.operators_operations import Tasks as XpliqueTasks

if not __package__:  # started as a script
    sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]

from onnxattr.converters.keras import to_onnx

import onnxattr
from onnxattr import xp
from onnxattr.compile.noise import draw_noise
from verification.compare import relative_error, tolerance_of
from verification.report import render
from verification.tape import METHODS, NOISY, TapeReference

RENDERINGS = ("driven", "batch", "loop")
SETTINGS = {"IntegratedGradients": {"steps": 5, "baseline_value": 0.1}} | {
    name: {"nb_samples": 4, "noise": 0.05, "seed": 3} for name in NOISY
}
DOCS = Path(__file__).resolve().parents[2] / "docs" / "scores.md"
START, END = "<!-- table: tests/verification/scores.py -->", "<!-- end of table -->"
SIZE = (10, 9, 3)


class Boxes(keras.layers.Layer):
    """(N, boxes, 8) logits as boxes x1, y1, x2, y2, probability, classes; the last box is padding."""

    def call(self, raw):
        corner, size = tf.sigmoid(raw[..., :2]) * 6, tf.sigmoid(raw[..., 2:4]) * 6 + 0.5
        parts = [corner, corner + size, tf.sigmoid(raw[..., 4:5]), tf.nn.softmax(raw[..., 5:])]
        return tf.concat(parts, axis=-1) * tf.constant([1.0, 1, 1, 1, 0], raw.dtype)[:, None]


def classifier() -> keras.Model:
    layers, inputs = keras.layers, keras.Input(SIZE)
    hidden = layers.MaxPooling2D()(layers.Conv2D(6, 3, activation="relu")(inputs))
    return keras.Model(inputs, layers.Dense(4)(layers.Flatten()(hidden)))


def segmenter() -> keras.Model:
    layers, inputs = keras.layers, keras.Input(SIZE)
    hidden = layers.Conv2D(6, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, layers.Conv2D(3, 3, padding="same", activation="softmax")(hidden))


def detector() -> keras.Model:
    layers, inputs = keras.layers, keras.Input(SIZE)
    hidden = layers.Flatten()(layers.Conv2D(5, 3, strides=2, activation="relu")(inputs))
    return keras.Model(inputs, Boxes()(layers.Reshape((5, 8))(layers.Dense(40)(hidden))))


def mirrored(f, x, y):
    """A function that calls f twice: squares of the scores, less what the mirrored image scores."""
    return (xp.square(f(x)) * y).sum(axis=-1) - xp.maximum(f(0.5 * x[:, :, ::-1]), 0.0).mean(axis=-1)


def mirrored_tf(f, x, y):
    """The same in TensorFlow."""
    squares = tf.reduce_sum(tf.square(f(x)) * y, axis=-1)
    return squares - tf.reduce_mean(tf.maximum(f(0.5 * x[:, :, ::-1]), 0.0), axis=-1)


def margin() -> onnx.ModelProto:
    """An ONNX model: what the target weighs, less the logarithm of the sum of exponentials."""
    return onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 18]>
        margin (float[N,4] scores, float[N,4] target) => (float[N] s) <int64[1] last = {-1}> {
            weighted = Mul(scores, target) wanted = ReduceSum<keepdims=0>(weighted, last)
            all = ReduceLogSumExp<keepdims=0>(scores, last) s = Sub(wanted, all) }""")


def margin_tf(f, x, y):
    """The same in TensorFlow."""
    scores = f(x)
    return tf.reduce_sum(scores * y, axis=-1) - tf.reduce_logsumexp(scores, axis=-1)


@dataclass(frozen=True)
class Kind:
    """What is passed to methods, its model, and the same in TensorFlow; None: Xplique's of that name."""

    operator: object
    model: Callable[[], keras.Model]
    in_tensorflow: Callable | None = None


KINDS = {
    "classification": Kind("classification", classifier),
    "regression": Kind("regression", classifier),
    "semantic segmentation": Kind("semantic segmentation", segmenter),
    "object detection": Kind("object detection", detector),
    "object detection box position": Kind("object detection box position", detector),
    "object detection box proba": Kind("object detection box proba", detector),
    "object detection box class": Kind("object detection box class", detector),
    "a function, f called twice": Kind(mirrored, classifier, mirrored_tf),
    "an ONNX model": Kind(margin(), classifier, margin_tf),
}
#: What the fast tests compare: one path, one of noise and one of ReLUs for a score of each kind.
FAST_KINDS = ("semantic segmentation", "a function, f called twice", "an ONNX model")
FAST_METHODS = ("IntegratedGradients", "SmoothGrad", "GuidedBackprop")


@cache
def made(build: Callable) -> tuple[keras.Model, onnx.ModelProto, np.ndarray, np.ndarray]:
    """A model, its conversion, inputs and targets."""
    keras.utils.set_random_seed(11)
    model, rng = build(), np.random.default_rng(2)
    images = rng.random((3, *SIZE)).astype(np.float32)
    found = model(images).numpy()
    if build is detector:
        targets = found[:, [0, 2, 3]] + np.array([0.3, 0.2, 0.4, 0.1, 0, 0.1, 0, 0], np.float32)
        targets[0, 1:] = targets[1, 0] = 0  # padding
    elif build is segmenter:
        targets = (rng.random(found.shape) > 0.6).astype(np.float32)
    else:
        targets = rng.normal(size=found.shape).astype(np.float32)
    return model, to_onnx(model), images, targets


@cache
def tape(name: str) -> TapeReference:
    """The reference of a kind; kept, since its tracing takes longer than its runs."""
    kind = KINDS[name]
    function = kind.in_tensorflow
    if function is None:
        task = XpliqueTasks.from_string(name)
        function = getattr(task, "python_function", task)
    return TapeReference(made(kind.model)[0], operator=function)


def expected(name: str, method: str) -> np.ndarray:
    """The tape's maps."""
    _, _, images, targets = made(KINDS[name].model)
    options = dict(SETTINGS.get(method, {}))
    if method in NOISY:
        seed, count = options.pop("seed"), options.pop("nb_samples")
        options["draws"] = draw_noise(seed, images.shape, count)
    return tape(name).explain(method, images, targets, **options)


def errors(name: str, method: str, renderings=RENDERINGS) -> dict[str, float]:
    """The largest error of each rendering, relative to each map's maximum."""
    kind = KINDS[name]
    _, converted, images, targets = made(kind.model)
    reference, found = expected(name, method), {}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        ours = getattr(onnxattr, method)(
            converted, operator=kind.operator, reducer=None, batch_size=4, **SETTINGS.get(method, {})
        )
        for rendering in renderings:
            if rendering == "loop" and method not in SETTINGS:
                continue  # one gradient: there is nothing to repeat
            explainer = ours
            if rendering != "driven":
                path = Path(folder) / f"{rendering}.onnx"
                ours.export(path, rendering, target="weights")
                explainer = onnxattr.load(path, seed=SETTINGS.get(method, {}).get("seed", 0))
            found[rendering] = relative_error(explainer.explain(images, targets), reference)
    return found


def table(kinds=tuple(KINDS), methods=METHODS) -> tuple[str, bool]:
    """The table as markdown, and whether all is within the tolerance."""
    body, ok = [], True
    for name in kinds:
        cells = []
        for method in methods:
            found = errors(name, method)
            ok &= max(found.values()) <= tolerance_of(method)
            cells.append(" / ".join(f"{error:.0e}".replace("e-0", "e-") for error in found.values()))
        body.append([name, *cells])
    return render(["score", *methods], body, markdown=True), ok


def written(text: str) -> None:
    """Puts the table between its marks in docs/scores.md."""
    page = DOCS.read_text()
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    DOCS.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/scores.md")
    options = parser.parse_args()
    found, within = table()
    print(found)
    if options.write:
        written(found)
    sys.exit(not within)
