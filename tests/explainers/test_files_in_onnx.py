"""Exported files give the same maps in onnx's own evaluator, as it comes: it is what the specification says."""

import functools

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from portable.zoo_networks import DIGITS_SEED, TABLE_ROWS, digits_network, tabular_network
from support.tiny_graphs import parse

from onnxattr import attributions

RNG = np.random.default_rng(0)
PATH = {"steps": 3}
NOISE = {"nb_samples": 3, "seed": 5}
#: Method, options, rendering.
METHODS = {
    "a gradient": ("GradientInput", {}, "batch"),
    "a path": ("IntegratedGradients", PATH, "batch"),
    "a path, loop": ("IntegratedGradients", PATH, "loop"),
    "noise": ("SmoothGrad", NOISE, "batch"),
    "noise, loop": ("SquareGrad", NOISE, "loop"),
    "an override": ("GuidedBackprop", {}, "batch"),
}
CLASSES = "l = MatMul(f, w) y = Softmax(l)"
BODIES = {
    "classes": ("float[N,6] x", "f = Tanh(x)", (6, 4)),
    "clipped channels": (
        "float[N,3,8,8] x",
        "a = Constant<value_float=0.0>() b = Constant<value_float=1.0>() h = Conv<pads=[1,1,1,1], group=3>(x, k) "
        "c = Clip(h, a, b) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(c) g = GlobalAveragePool(p) f = Flatten(g)",
        (3, 4),
    ),
    "attention": (
        "float[N,5,4] x",
        "s = Constant<value_ints=[4]>() q = LayerNormalization(x, o) t = Transpose<perm=[0,2,1]>(q) e = MatMul(q, t) "
        "a = Softmax(e) m = MatMul(a, q) g = Gelu(m) r = Add(x, g) f = Flatten(r)",
        (20, 4),
    ),
}


@functools.cache
def network(name):
    """A model, its layer, rows and targets."""
    if name in BODIES:
        inputs, body, shape = BODIES[name]
        model = parse(f"g ({inputs}) => (float[N,4] y) {{ {body} {CLASSES} }}", opset=20)
        sizes = {"w": shape, "k": (3, 1, 3, 3), "o": (4,)}
        weights = {key: RNG.normal(size=size).astype(np.float32) for key, size in sizes.items()}
        read = {name for node in model.graph.node for name in node.input}
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(weight, key) for key, weight in weights.items() if key in read
        )
        dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
        return model, None, RNG.normal(size=(2, *dims)).astype(np.float32), np.array([2, -1])
    given = digits_network(DIGITS_SEED) if name == "digits" else tabular_network(TABLE_ROWS)
    return given.model, given.output_layer, given.rows[:2], np.array([1, -1])


@pytest.mark.filterwarnings("ignore:The model ends in probabilities", "ignore:GuidedBackprop overrides ReLUs")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [*BODIES, "digits", "tabular"])
def test_maps(name, method, tmp_path):
    model, layer, rows, targets = network(name)
    kind, options, rendering = METHODS[method]
    if options == PATH:  # A flat one has equal values under max-pools.
        options = PATH | {"baseline_value": np.random.default_rng(1).random(rows.shape[1:], np.float32)}
    explainer = getattr(attributions, kind)(model, layer, batch_size=2, progress=False, **options)
    explainer.export(tmp_path / "e.onnx", rendering, check=False)
    expected = explainer.explain(rows, targets)
    file = onnx.load(tmp_path / "e.onnx")
    feeds = {file.graph.input[0].name: rows, "target": targets, "seed": np.array(5)}
    feeds = {value.name: feeds[value.name] for value in file.graph.input}
    prediction, found = ReferenceEvaluator(file).run(["prediction", "attribution"], feeds)
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_allclose(prediction, explainer.predict(rows), rtol=0, atol=1e-5)
