"""Inputs and targets that do not fit are one clear error before anything runs."""

import numpy as np
import pytest
from onnx import TensorProto
from support.refusals import CNN, MLP, TOKENS, TWO, VECTORS, check
from support.small_models import build, elementwise, node, rows

import onnxattr.attributions as attributions
from onnxattr.errors import OnnxAttrError, ShapeError, TargetError

X, IMAGES = MLP.given, CNN.given


def explained(model=MLP.model, inputs=X, targets=None, method="Saliency", **options):
    return getattr(attributions, method)(model, **options).explain(inputs, targets)


def spoilt(array, value):
    array = array.copy()
    array.flat[3] = value
    return array


class Row(list):
    """What is a row of a table in pandas, as far as it matters here."""

    def to_frame(self):
        raise NotImplementedError


TWO_GOOD = TWO.inputs
BYTES = build(
    [node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), node("Relu", ["f"], ["y"])],
    {"x": (["N", 4], TensorProto.UINT8)}, VECTORS[1],
)  # fmt: skip
SERIES = build(
    [node("Relu", ["x"], ["y"])],
    {"x": (["N", "W"], TensorProto.FLOAT)},
    {"y": (["N", "W"], TensorProto.FLOAT)},
)
INPUTS = {
    "wrong rank, a sample": (CNN, IMAGES[0], ["'image'", "(3, 8, 9)", "(N, 3, 8, 9)", "rank 4", "x[None]"]),
    "a sample as a list": (MLP, [*X[0].tolist()], ["(6,)", "Add the batch axis with [x]"]),
    "a row of a table": (MLP, Row(X[0]), ["(6,)", "series.to_frame().T", "frame.iloc[[i]]"]),
    "wrong rank": (CNN, X, ["(3, 6)", "(N, 3, 8, 9)", "rank 4"]),
    "channels last": (CNN, np.zeros((2, 8, 9, 3)), ["(2, 8, 9, 3)", "axis 1", "np.moveaxis(x, -1, 1)"]),
    "gray images": (CNN, np.zeros((2, 8, 9)), ["(2, 8, 9)", "rank 4", "np.repeat(np.expand_dims(x, 1), 3, axis=1)"]),
    "images with alpha": (CNN, np.zeros((2, 4, 8, 9)), ["(2, 4, 8, 9)", "axis 1", "np.delete(x, 3, axis=1)"]),
    "wrong channel count": (CNN, IMAGES[:, :1], ["(3, 1, 8, 9)", "axis 1", "np.repeat(x, 3, axis=1)"]),
    "NaN": (MLP, spoilt(X, np.nan), ["'x'", "1 NaN or infinite", "clean the data"]),
    "infinity": (MLP, spoilt(X, -np.inf), ["'x'", "1 NaN or infinite", "clean the data"]),
    "beyond float32": (MLP, spoilt(X.astype(np.float64), 1e300), ["'x'", "1 NaN or infinite"]),
    "empty batch": (MLP, X[:0], ["'x'", "empty batch", "(0, 6)", "at least one sample"]),
    "no values": (SERIES, np.zeros((2, 0), np.float32), ["'x'", "(2, 0)", "no value to explain"]),
    "text": (MLP, np.array([["a"] * 6]), ["'x'", "<U1", "expected numbers"]),
    "a file name": (MLP, "photo.png", ["photo.png", "there is no such file"]),
    "nothing": (MLP, None, ["'x'", "object", "None", "expected numbers"]),
    "an object among numbers": (MLP, np.array([[1, 2.5, 3, 4, 5, "a"]], object), ["'x'", "'a'", "expected numbers"]),
    "complex": (MLP, X.astype(complex), ["'x'", "complex128", "expected numbers"]),
    "ragged lists": (MLP, [[1.0] * 6, [1.0] * 5], ["'x'", "not an array"]),
    "images of two sizes": (CNN, [IMAGES[0], IMAGES[1][:, :7]], ["'image'", "(3, 7, 9), (3, 8, 9)", "by themselves"]),
    "unknown name": (MLP, {"pixels": X}, ["['x']", "missing: ['x']", "unknown: ['pixels']"]),
    "missing name": (TWO, {"image": TWO_GOOD["image"]}, ["missing: ['features']", "unknown: []"]),
    "one array for two inputs": (TWO, TWO_GOOD["image"], ["2 inputs", "'features'", "dict by name", "list"]),
    "one too many": (TWO, [*TWO_GOOD.values(), X], ["2 inputs", "dict by name", "list in that order"]),
    "order swapped": (TWO, [*TWO_GOOD.values()][::-1], ["'image'", "(3, 4)", "(N, 3, 6, 6)"]),
    "different rows": (
        TWO, TWO_GOOD | {"features": TWO_GOOD["features"][:2]}, ["samples", "'image': 3", "'features': 2"]
    ),
    "one row for all": (
        TWO, TWO_GOOD | {"features": TWO_GOOD["features"][:1]}, ["'features': 1", "share 'features'", "np.repeat"]
    ),
    "tokens 1.5": (TOKENS, spoilt(TOKENS.given.astype(float), 1.5), ["'tokens'", "float64", "int64", "1.5", "Round"]),
    "tokens NaN": (TOKENS, spoilt(TOKENS.given.astype(float), np.nan), ["'tokens'", "int64", "nan"]),
    "tokens infinite": (TOKENS, spoilt(TOKENS.given.astype(float), np.inf), ["'tokens'", "int64", "inf"]),
    "beyond uint8": (BYTES, np.full((2, 4), 300), ["'x'", "int64", "uint8", "300"]),
    "wrong number of tokens": (TOKENS, TOKENS.given[:, :4], ["'tokens'", "(3, 4)", "(N, 7)"]),
    "no batch in a stream": (MLP, iter([]), ["no batch", "at least one sample"]),
    "wrong rank in a stream": (MLP, iter([IMAGES]), ["'x'", "(3, 3, 8, 9)", "(N, 6)"]),
    "stream of different samples": (MLP, iter([X[0], X[0, :5]]), ["different", "(5,)", "(6,)"]),
}  # fmt: skip


@pytest.mark.parametrize("case", INPUTS)
def test_inputs(case, nothing_runs):
    model, given, fragments = INPUTS[case]
    inner = "embedded" if model is TOKENS else "f" if model is BYTES else None
    method = attributions.Saliency(getattr(model, "model", model), wrt=inner)
    with pytest.raises(OnnxAttrError) as error:
        method.explain(given)
    check(error, ShapeError, fragments)


ANY_CLASSES = build(
    [node("Mul", ["x", "x"], ["s"]), node("Mul", ["s", "x"], ["y"])], {"x": ["N", "C"]}, {"y": ["N", "C"]}
)
ANY_SIZE = build(
    [node("Relu", ["x"], ["r"]), node("GlobalAveragePool", ["r"], ["g"]), node("Flatten", ["g"], ["y"])],
    {"x": ["N", 3, "H", "W"]}, {"y": ["N", 3]},
)  # fmt: skip


def test_batches_of_different_sizes_in_a_stream():
    """Each can be explained, but their maps make no one array; how many there are only the end of the stream shows."""
    method = attributions.Saliency(ANY_SIZE)
    batches = [rows(1, 3, 5, 5), rows(2, 3, 6, 4)]
    assert [method.explain(batch).shape[2:] for batch in batches] == [(5, 5), (6, 4)]
    with pytest.raises(ShapeError, match=r"\(1, 5, 5\), \(1, 6, 4\).*by itself"):
        method.explain(iter(batches))


TARGETS = {
    "label too large": ([0, 1, 4], ["Label 4", "0 to 3"]),
    "label too small": ([0, 1, -2], ["Label -2", "0 to 3", "-1 for the predicted"]),
    "too few labels": ([0, 1], ["2 labels", "3 samples"]),
    "one label for all, out of range": (4, ["Label 4", "from 0 to 3"]),
    "labels as floats": ([0.0, 1.0, 2.0], ["(3,)", "(3, 4)", "integer labels", "np.ravel(targets).astype(int)"]),
    "labels as a column": ([[0], [1], [2]], ["(3, 1)", "integer labels", "np.ravel(targets).astype(int)"]),
    "no label": ([0, None, 2], ["None", "expected numbers"]),
    "wrong class count": (np.eye(5)[:3], ["(3, 5)", "(3, 4)", "Targets are not broadcast"]),
    "one column for four classes": (np.ones((3, 1)), ["(3, 1)", "(3, 4)", "Targets are not broadcast"]),
    "no batch axis": (np.array([1.0, 0, 0, 0]), ["(4,)", "(3, 4)"]),
    "too few rows": (np.eye(4)[:2], ["(2, 4)", "(3, 4)"]),
    "one row for three": (np.eye(4)[:1], ["(1, 4)", "(3, 4)", "Targets are not broadcast"]),
    "NaN": (np.full((3, 4), np.nan), ["targets", "NaN or infinite", "finite"]),
    "infinity": (np.full((3, 4), np.inf), ["targets", "NaN or infinite", "finite"]),
    "text": (["happy", "sad", "angry"], ["'happy'", "no names of classes", "onnxattr.labels"]),
    "ragged": ([[1, 0, 0, 0], [1], [1]], ["targets", "not an array"]),
}  # fmt: skip


@pytest.mark.parametrize("method", ["Saliency", "IntegratedGradients"])
@pytest.mark.parametrize("case", TARGETS)
def test_targets(case, method, nothing_runs):
    given, fragments = TARGETS[case]
    with pytest.raises(OnnxAttrError) as error:
        explained(targets=given, method=method)
    check(error, TargetError, fragments)


def test_targets_beside_a_dataset(nothing_runs):
    with pytest.raises(TargetError, match=r"come from the dataset: give an iterable of \(inputs, targets\)"):
        explained(inputs=iter([X]), targets=[0, 1, 2])


@pytest.mark.parametrize(
    "element",
    [(X, np.zeros(3, int), np.ones(3)), (X[0], np.int64(1), np.float32(1)), (X[0], 1, 0.5)],
    ids=["batch", "sample", "numbers"],
)
def test_weights_of_samples_in_a_dataset(element, nothing_runs):
    with pytest.raises(TargetError, match=r"has 3 parts; expected .* Leave weights of samples out"):
        explained(inputs=iter([element]))


def test_output_of_rank_3_needs_targets(nothing_runs):
    with pytest.raises(TargetError, match=r"rank 3.*weights of shape \(3, 2, 5\)"):
        explained(elementwise([2, 5]), rows(1, 2, 5))


@pytest.mark.parametrize("method", ["Saliency", "IntegratedGradients", "VarGrad"])
def test_label_beyond_a_class_count_that_only_the_prediction_shows(method):
    with pytest.raises(TargetError, match=r"Label 6 .*0 to 5"):
        explained(ANY_CLASSES, X, [0, 5, 6], method)
    assert explained(ANY_CLASSES, X, [0, 5, -1], method).shape == (3, 6)
