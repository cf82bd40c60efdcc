"""Integers that reach the score have no gradient: it is said, with the float values to explain instead."""

import warnings

import numpy as np
import pytest
from onnx import TensorProto
from support.small_models import build, embedding, mlp, node, random, two_inputs

from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency
from onnxattr.inspection import inspect

INT = TensorProto.INT64
TABLE = random(1, 11, 5)
END = [node("ReduceMean", ["masked", "one"], ["m"], keepdims=0), node("MatMul", ["m", "w"], ["y"])]
WEIGHTS = {"table": TABLE, "w": random(2, 5, 3), "one": np.array([1]), "two": np.array([2])}
EMBED = [node("Gather", ["table", "ids"], ["embedded"]), node("Unsqueeze", ["mask", "two"], ["wide"])]
MASKED = build(
    [*EMBED, node("Mul", ["embedded", "wide"], ["masked"]), *END],
    {"ids": (["N", 7], INT), "mask": ["N", 7]}, {"y": ["N", 3]}, WEIGHTS,
)  # fmt: skip
TYPED = build(
    [*EMBED, node("Gather", ["types", "kind"], ["typed"]), node("Add", ["embedded", "typed"], ["e"]),
     node("Mul", ["e", "wide"], ["masked"]), *END],
    {"ids": (["N", 7], INT), "kind": (["N", 7], INT), "mask": ["N", 7]}, {"y": ["N", 3]},
    WEIGHTS | {"types": random(3, 2, 5)},
)  # fmt: skip
NUMBERS = {"zero": np.array(0), "first": np.array([0]), "rest": np.array([1, 2]), "table": random(4, 5, 4)}
COLUMN = [node("Gather", ["x", "zero"], ["code"], axis=1), node("Gather", ["x", "rest"], ["numbers"], axis=1)]
CAST = build(
    [*COLUMN, node("Cast", ["code"], ["id"], to=INT), node("Gather", ["table", "id"], ["e"]),
     node("Concat", ["e", "numbers"], ["both"], axis=1), node("MatMul", ["both", "w"], ["y"])],
    {"x": ["N", 3]}, {"y": ["N", 2]}, NUMBERS | {"w": random(5, 6, 2)},
)  # fmt: skip
# One-hot by comparison of integers, as an encoder is written out.
ONE_HOT = build(
    [node("Gather", ["x", "first"], ["code"], axis=1), COLUMN[1], node("Cast", ["code"], ["id"], to=INT),
     node("Equal", ["id", "kinds"], ["same"]), node("Cast", ["same"], ["hot"], to=1),
     node("Concat", ["hot", "numbers"], ["both"], axis=1), node("MatMul", ["both", "w"], ["y"])],
    {"x": ["N", 3]}, {"y": ["N", 2]}, NUMBERS | {"kinds": np.array([[0, 1, 2]]), "w": random(6, 5, 2)},
)  # fmt: skip
COUNT = build(
    [node("Cast", ["count"], ["c"], to=1), node("Mul", ["x", "c"], ["y"])],
    {"x": ["N", 2], "count": (["N", 1], TensorProto.INT32)}, {"y": ["N", 2]},
)  # fmt: skip
SAID = {
    "token ids with a mask": (MASKED, {}, ["input 'ids'", "wrt: 'embedded'"]),
    "two kinds of ids": (TYPED, {}, ["input 'ids', input 'kind'", "'embedded', 'typed'"]),
    "codes among the columns": (CAST, {}, ["'x' by way of 'id'", "wrt: 'e'"]),
    "codes of what was asked for": (CAST, {"wrt": "x"}, ["'x' by way of 'id'"]),
    "one-hot": (ONE_HOT, {}, ["'x' by way of 'id'", "wrt: 'hot'"]),
    "a count": (COUNT, {}, ["input 'count'", "wrt: 'c'"]),
}  # fmt: skip
LENGTHS = build(
    [node("Shape", ["x"], ["s"], start=1, end=2), node("Cast", ["s"], ["f"], to=1), node("Div", ["x", "f"], ["y"])],
    {"x": ["N", 2]}, {"y": ["N", 2]},
)  # fmt: skip
PICKED = build(
    [node("GatherElements", ["x", "place"], ["y"], axis=1)],
    {"x": ["N", 4], "place": (["N", 1], INT)}, {"y": ["N", 1]},
)  # fmt: skip
CHOICE = build(
    [node("Where", ["which", "two", "three"], ["f"]), node("Mul", ["x", "f"], ["y"])],
    {"x": ["N", 2], "which": (["N", 2], TensorProto.BOOL)}, {"y": ["N", 2]}, 
    {"two": np.float32(2), "three": np.float32(3)},
)  # fmt: skip
RELU = build(
    [node("Greater", ["x", "zero"], ["up"]), node("Cast", ["up"], ["f"], to=1), node("Mul", ["x", "f"], ["y"])],
    {"x": ["N", 2]}, {"y": ["N", 2]}, {"zero": np.float32(0)},
)  # fmt: skip
BINS = build(
    [node("Greater", ["age", "zero"], ["old"]), node("Cast", ["old"], ["f"], to=1), node("Mul", ["x", "f"], ["y"])],
    {"x": ["N", 2], "age": ["N", 1]}, {"y": ["N", 2]}, {"zero": np.float32(0)},
)  # fmt: skip
ROUNDED = build(
    [node("Round", ["age"], ["years"]), node("Mul", ["x", "years"], ["y"])],
    {"x": ["N", 2], "age": ["N", 1]}, {"y": ["N", 2]},
)  # fmt: skip
CHOSEN = build(
    [node("Cast", ["age"], ["row"], to=INT), node("GatherElements", ["x", "row"], ["y"], axis=1)],
    {"x": ["N", 4], "age": ["N", 1]}, {"y": ["N", 1]},
)  # fmt: skip
WITHOUT_ROWS = build([node("Mul", ["x", "scale"], ["y"])], {"x": ["N", 2], "scale": []}, {"y": ["N", 2]})
UNUSED = build(
    [node("Shape", ["age"], ["s"], start=1, end=2), node("Cast", ["s"], ["f"], to=1), node("Mul", ["x", "f"], ["y"])],
    {"x": ["N", 2], "age": ["N", 1]}, {"y": ["N", 2]},
)  # fmt: skip
SILENT = {
    "no integers": (mlp().model, {}),
    "two float inputs": (two_inputs().model, {}),
    "embeddings asked for": (MASKED, {"wrt": "embedded"}),
    "ids left out on purpose": (MASKED, {"wrt": "mask"}),
    "embeddings and numbers": (CAST, {"wrt": ("e", "numbers")}),
    "shapes": (LENGTHS, {}),
    "positions": (PICKED, {}),
    "a choice": (CHOICE, {}),
    "a comparison": (RELU, {}),
    "a float left out on purpose": (BINS, {"wrt": "x"}),
    "a float that gives a size": (UNUSED, {}),
    "a float that has no rows": (WITHOUT_ROWS, {}),
}


@pytest.mark.parametrize("case", SAID)
def test_said(case):
    model, options, fragments = SAID[case]
    with pytest.warns(UserWarning, match="The score depends on integers") as heard:
        IntegratedGradients(model, **options)
    assert len(heard) == 1
    assert [part for part in fragments if part not in str(heard[0].message)] == [], heard[0].message


@pytest.mark.parametrize("model", [BINS, ROUNDED, CHOSEN], ids=["comparison", "rounding", "position"])
def test_a_float_input_without_a_gradient_is_said(model):
    said = r"depends on the inputs \['age'\] by comparisons, roundings or positions alone"
    with pytest.warns(UserWarning, match=said) as heard:
        IntegratedGradients(model)
    assert len(heard) == 1


@pytest.mark.parametrize("case", SILENT)
def test_not_said(case):
    model, options = SILENT[case]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Saliency(model, **options)


def test_what_the_warning_names_has_the_attribution():
    """f = e(code) w + numbers v: the parts add up to f, where the map of x alone holds the numbers' part."""
    x = np.array([[3, 0.5, -1], [1, 2, 0]], np.float32)
    method = GradientInput(CAST, wrt=("e", "numbers"), reducer=None)
    parts = method.explain(x, [0, 1])
    np.testing.assert_allclose(sum(p.sum(1) for p in parts), method.predict(x)[[0, 1], [0, 1]], rtol=1e-5)
    with pytest.warns(UserWarning, match="integers"):
        maps = GradientInput(CAST).explain(x, [0, 1])
    np.testing.assert_allclose(maps, np.concatenate([np.zeros((2, 1)), parts[1]], 1), rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (MASKED, "  ids:  embedded"),
        (TYPED, "  kind:  typed"),
        (CAST, "  id:  e"),
        (embedding().model, "  tokens:  embedded"),
    ],
)
def test_inspect_lists_them_beside_float_inputs_too(model, line):
    assert line in (lines := inspect(model).splitlines())
    assert any(text.startswith("Integers without") and "(wrt=..., --wrt)" in text for text in lines)


def test_inspect_of_a_model_without():
    assert "Integers" not in inspect(mlp().model)


def test_keras_embeddings(recwarn):
    keras = pytest.importorskip("keras")
    ids, numbers = keras.Input((4,), dtype="int32", name="ids"), keras.Input((3,), name="numbers")
    words = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(9, 5, name="words")(ids))
    model = keras.Model([ids, numbers], keras.layers.Dense(2)(keras.layers.Concatenate()([words, numbers])))
    with pytest.warns(UserWarning, match="input 'ids'.*wrt: ") as heard:
        GradientInput(model)
    name = (
        str(next(w.message for w in heard if "integers" in str(w.message))).split("wrt: '")[1].split("'")[0]
    )
    given = {"ids": np.array([[1, 2, 3, 4]], np.int32), "numbers": np.ones((1, 3), np.float32)}
    maps = GradientInput(model, wrt=name).explain(given, [0])
    assert maps.shape == (1, 4, 5)
    assert np.abs(maps).max() > 0
