"""Batch normalisations that no convolution takes in are one node of a converted model."""

from collections import Counter

import keras
import numpy as np
import onnx
import pytest
from onnxattr.converters.keras import to_onnx
from onnxattr.converters.keras.normalizations import join_normalizations
from support.gradient_graphs import run
from support.tiny_graphs import parse

from onnxattr.compile.gradient import vjp

L = keras.layers
IMAGE, SERIES = (6, 6, 3), (12, 3)


def concatenated(normal, channels=8, shape=IMAGE):
    """Two convolutions side by side, normalised together, as in DenseNet."""
    conv = L.Conv2D if len(shape) == 3 else L.Conv1D
    x = image = keras.Input(shape)
    x = L.Concatenate()([conv(channels // 2, 3)(x), conv(channels - channels // 2, 3)(x)])
    x = L.ReLU()(normal(x))
    return keras.Model(image, L.Dense(2)(L.Flatten()(conv(4, 1)(x))))


def read_twice(normal):
    x = image = keras.Input(IMAGE)
    parts = L.Concatenate()([L.Conv2D(4, 3)(x), L.Conv2D(4, 3)(x)])
    y = normal(parts)
    return keras.Model(image, L.Dense(2)(L.Flatten()(L.Add()([L.ReLU()(y), y, parts]))))


def trained(model):
    """Other numbers than zeros and ones in the normalisations."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    return model


# How many nodes BatchNormalization, and how many Mul.
CASES = {
    "images": (lambda: concatenated(L.BatchNormalization()), (1, 0)),
    "neither scale nor centre": (
        lambda: concatenated(L.BatchNormalization(scale=False, center=False)),
        (1, 0),
    ),
    "read twice": (lambda: read_twice(L.BatchNormalization()), (1, 0)),
    "few channels": (lambda: concatenated(L.BatchNormalization(), 4), (0, 1)),
    "another axis": (lambda: concatenated(L.BatchNormalization(axis=1)), (0, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_one_node(name):
    make, counts = CASES[name]
    model = trained(make())
    converted = to_onnx(model)
    onnx.checker.check_model(converted, full_check=True)
    found = Counter(node.op_type for node in converted.graph.node)
    assert (found["BatchNormalization"], found["Mul"]) == counts
    x = np.random.default_rng(1).normal(size=(3, *model.input_shape[1:])).astype(np.float32)
    entry = converted.graph.input[0].name
    (given,) = run(converted, {entry: x}).values()
    np.testing.assert_allclose(given, model(x), rtol=1e-5, atol=1e-5)


def test_masks_behind_it_stay_in_the_layout_of_convolutions():
    converted = to_onnx(trained(concatenated(L.BatchNormalization())))
    operators = Counter(node.op_type for node in vjp(converted).graph.node)
    assert operators["HardSigmoid"] == 1
    assert operators["Where"] == 0


@pytest.mark.parametrize(("captured", "joined"), [("m", 0), ("s", 1)])
def test_a_product_that_a_branch_reads_stays(captured, joined):
    model = parse(
        "g (float[N,8,4] x, bool c) => (float[N,8,4] y) <float[8,1] k = {1,2,3,4,5,6,7,8}, "
        "float[8,1] d = {8,7,6,5,4,3,2,1}> { m = Mul(x, k) s = Add(m, d) y = If(c) <"
        f"then_branch = a () => (float[N,8,4] p) {{ p = Neg({captured}) }}, "
        "else_branch = b () => (float[N,8,4] q) { q = Abs(s) }> }"
    )
    x = np.random.default_rng(2).normal(size=(2, 8, 4)).astype(np.float32)
    before = [run(model, {"x": x, "c": np.array(c)})["y"] for c in (True, False)]
    join_normalizations(model, [])
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) == joined
    after = [run(model, {"x": x, "c": np.array(c)})["y"] for c in (True, False)]
    np.testing.assert_allclose(before, after, rtol=1e-6)
