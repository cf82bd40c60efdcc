"""Whatever form inputs come in, of whatever rank and precision, the attributions are those of the plain arrays."""

import io
from decimal import Decimal

import numpy as np
import pytest
from onnx import TensorProto, parser
from support.explained import LABELS, close, make
from support.methods import ON_ANY_MODEL
from support.small_models import build, elementwise, mlp, node, rows, two_inputs

import onnxattr.attributions as attributions
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency, SmoothGrad
from onnxattr.errors import ShapeError, TargetError
from onnxattr.session import Session

MLP, TWO = mlp(), two_inputs()


# Forms of one array

WHOLE = np.arange(18).reshape(3, 6) % 7
FORMS = {
    "nested lists": WHOLE.tolist(),
    "tuple of lists": tuple(WHOLE.tolist()),
    "list of arrays": list(WHOLE.astype(np.float32)),
    "int64": WHOLE,
    "uint8": WHOLE.astype(np.uint8),
    "float64": WHOLE.astype(np.float64),
    "float16": WHOLE.astype(np.float16),
    "big endian": WHOLE.astype(">f4"),
    "columns first": np.asfortranarray(WHOLE.astype(np.float32)),
    "a view": np.repeat(WHOLE.astype(np.float32), 2, axis=1)[:, ::2],
    "read only": np.frombuffer(WHOLE.astype(np.float32).tobytes(), np.float32).reshape(3, 6),
    "a dict": {"x": WHOLE},
    "objects, as a table of several kinds of columns has them": WHOLE.astype(object),
    "decimals": [[Decimal(int(number)) for number in row] for row in WHOLE],
    "a memoryview": memoryview(WHOLE.astype(np.float32)),
}


@pytest.mark.parametrize("form", FORMS)
def test_array_like_inputs(form):
    expected = Saliency(MLP.model).explain(WHOLE.astype(np.float32), LABELS)
    maps = Saliency(MLP.model).explain(FORMS[form], LABELS)
    assert maps.dtype == np.float32
    np.testing.assert_array_equal(maps, expected)


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview, io.BytesIO])
def test_models_in_buffers(buffer):
    """A BytesIO too that was written a moment ago, so that nothing is left to be read."""
    given = buffer(MLP.model.SerializeToString())
    if buffer is io.BytesIO:
        given.seek(0, io.SEEK_END)
    expected = Saliency(MLP.model).explain(MLP.given, LABELS)
    np.testing.assert_array_equal(Saliency(given).explain(MLP.given, LABELS), expected)


def test_inputs_are_left_as_they_were():
    given = MLP.given.copy()
    IntegratedGradients(MLP.model, steps=3).explain(given, LABELS)
    np.testing.assert_array_equal(given, MLP.given)


def test_calling_is_explaining():
    method = Saliency(MLP.model)
    np.testing.assert_array_equal(method(MLP.given, LABELS), method.explain(MLP.given, LABELS))


@pytest.mark.parametrize("kind", ["constant", "Variable"])
def test_tensorflow_tensors(kind):
    tf = pytest.importorskip("tensorflow")
    expected = Saliency(MLP.model).explain(MLP.given, LABELS)
    x, labels = getattr(tf, kind)(MLP.given), tf.constant(LABELS)
    np.testing.assert_array_equal(Saliency(MLP.model).explain(x, labels), expected)
    one_hot = tf.one_hot(labels, 4)
    close(Saliency(MLP.model).explain(x, one_hot), expected)
    sparse = [tf.sparse.from_dense(np.where(array > 0, array, 0)) for array in (MLP.given, one_hot)]
    dense = np.where(MLP.given > 0, MLP.given, 0)
    close(Saliency(MLP.model).explain(*sparse), Saliency(MLP.model).explain(dense, LABELS))


UNREAD = {
    "tensorflow": (lambda tf: tf.RaggedTensor.from_tensor(MLP.given), r"a RaggedTensor: .*x\.to_tensor\(\)"),
    "polars": (lambda polars: polars.LazyFrame(MLP.given), r"a LazyFrame: .*x\.collect\(\)"),
}


@pytest.mark.parametrize("library", UNREAD)
def test_what_is_no_array_yet_is_refused_with_what_makes_one_of_it(library):
    make, message = UNREAD[library]
    given = make(pytest.importorskip(library))
    for call in (Saliency(MLP.model).explain, lambda x, _: Saliency(MLP.model).explain(MLP.given, x)):
        with pytest.raises((ShapeError, TargetError), match=message):
            call(given, LABELS)


TENSORS = {
    "plain": lambda torch, x: x,
    "of a graph": lambda torch, x: x.requires_grad_(),
    "bfloat16": lambda torch, x: x.bfloat16(),
    "float8": lambda torch, x: x.to(torch.float8_e4m3fn),
    "list of a graph": lambda torch, x: list(x.requires_grad_()),
    "lists of numbers of a graph": lambda torch, x: [list(row) for row in x.requires_grad_()],
    "with the negative bit": lambda torch, x: torch._neg_view(-x),
    "sparse": lambda torch, x: x.to_sparse(),
    "sparse rows": lambda torch, x: x.to_sparse_csr(),
    "quantized": lambda torch, x: torch.quantize_per_tensor(x, 1.0, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning", "ignore:.*quantize:UserWarning")
@pytest.mark.parametrize("kind", TENSORS)
def test_torch_tensors(kind):
    torch = pytest.importorskip("torch")
    whole = WHOLE.astype(np.float32)
    expected = Saliency(MLP.model).explain(whole, LABELS)
    x = TENSORS[kind](torch, torch.tensor(whole))
    np.testing.assert_array_equal(Saliency(MLP.model).explain(x, torch.tensor(LABELS)), expected)


TINY = {
    "inputs": ("GradientInput", {}, np.full((3, 6), 1e-42), LABELS),
    "targets": ("GradientInput", {}, MLP.given, np.eye(4)[LABELS] * (1 + 1e-300) + 1e-300),
    "baseline": ("IntegratedGradients", {"baseline_value": 1e-300, "steps": 3}, MLP.given, LABELS),
    "noise": ("SmoothGrad", {"noise": 1e-300, "nb_samples": 2}, MLP.given, LABELS),
}


@pytest.mark.parametrize("place", TINY)
def test_numbers_that_round_to_zero_are_no_error_where_numpy_raises_them(place):
    method, options, x, targets = TINY[place]
    expected = getattr(attributions, method)(MLP.model, **options).explain(x, targets)
    with np.errstate(all="raise"):
        found = getattr(attributions, method)(MLP.model, **options)(x, targets)
    np.testing.assert_array_equal(found, expected)


# Datasets

SEVEN = np.random.default_rng(8).normal(size=(7, 6)).astype(np.float32)
SEVEN_LABELS = np.array([3, 1, 0, 2, 2, 1, 0])


def tf_dataset(arrays):
    return pytest.importorskip("tensorflow").data.Dataset.from_tensor_slices(arrays)


def generator(*parts):
    """A generator of batches of two rows."""
    for start in range(0, 7, 2):
        batch = tuple(part[start : start + 2] for part in parts)
        yield batch if len(batch) > 1 else batch[0]


BOTH = (SEVEN, SEVEN_LABELS)
DATASETS = {
    "tf, unbatched": (True, lambda: tf_dataset(BOTH)),
    "tf, batched": (True, lambda: tf_dataset(BOTH).batch(3)),
    "tf, batched and prefetched": (True, lambda: tf_dataset(BOTH).batch(3).prefetch(2)),
    "tf, one-hot": (True, lambda: tf_dataset((SEVEN, np.eye(4, dtype=np.float32)[SEVEN_LABELS])).batch(4)),
    "tf, float64": (True, lambda: tf_dataset((SEVEN.astype(np.float64), SEVEN_LABELS)).batch(2)),
    "tf, dicts": (True, lambda: tf_dataset(({"x": SEVEN}, SEVEN_LABELS)).batch(2)),
    "tf, unbatched dicts": (True, lambda: tf_dataset(({"x": SEVEN}, SEVEN_LABELS))),
    "tf, no targets": (False, lambda: tf_dataset(SEVEN).batch(3)),
    "tf, unbatched, no targets": (False, lambda: tf_dataset(SEVEN)),
    "generator": (True, lambda: generator(*BOTH)),
    "generator, no targets": (False, lambda: generator(SEVEN)),
    "generator of samples": (True, lambda: ((x, y) for x, y in zip(*BOTH, strict=True))),
    "generator of lists": (True, lambda: ((x.tolist(), int(y)) for x, y in zip(*BOTH, strict=True))),
    "map": (False, lambda: map(np.asarray, SEVEN)),
    "samples, then a batch": (False, lambda: iter([*SEVEN[:2], SEVEN[2:]])),
}


@pytest.mark.parametrize("batch_size", [2, None])
@pytest.mark.parametrize("case", DATASETS)
def test_datasets(case, batch_size):
    labelled, dataset = DATASETS[case]
    method = SmoothGrad(MLP.model, nb_samples=3, batch_size=batch_size)  # depends on a row's position
    expected = method.explain(SEVEN, SEVEN_LABELS if labelled else None)
    close(method.explain(dataset()), expected)


def test_two_inputs_from_a_dataset():
    method = SmoothGrad(TWO.model, nb_samples=3)
    expected = method.explain(TWO.inputs, LABELS)
    for dataset in (tf_dataset((TWO.inputs, LABELS)), tf_dataset((TWO.inputs, LABELS)).batch(2)):
        maps = method.explain(dataset)
        assert list(maps) == ["image", "features"]
        for name in maps:
            close(maps[name], expected[name])
    pairs = tf_dataset((tuple(TWO.inputs.values()), LABELS))
    for dataset in (pairs, pairs.batch(2)):
        maps = method.explain(dataset)
        assert isinstance(maps, list)
        for found, name in zip(maps, TWO.inputs, strict=True):
            close(found, expected[name])


@pytest.mark.parametrize(("batch_size", "samples"), [(None, False), (2, False), (2, True)])
def test_datasets_are_read_as_needed(batch_size, samples, monkeypatch):
    """When the next batch is drawn, those before it have been explained; of a dataset, one batch is held."""
    explained, seen = [], []
    run = Session.run

    def counting_run(self, feeds):
        explained.append(len(feeds["x"]))
        return run(self, feeds)

    monkeypatch.setattr(Session, "run", counting_run)

    def dataset():
        for start in range(0, 6, 2):
            seen.append(sum(explained))
            yield from SEVEN[start : start + 2] if samples else [SEVEN[start : start + 2]]

    Saliency(MLP.model, batch_size=batch_size).explain(dataset())
    assert seen == [0, 2, 4]
    assert sum(explained) == 6


# Several inputs

FORMS_OF_TWO = {
    "dict": (TWO.inputs, dict),
    "dict in another order": (dict(reversed(TWO.inputs.items())), dict),
    "list": (list(TWO.inputs.values()), list),
    "tuple": (tuple(TWO.inputs.values()), list),
}


@pytest.mark.parametrize("form", FORMS_OF_TWO)
def test_two_inputs_come_back_as_they_went_in(form):
    given, kind = FORMS_OF_TWO[form]
    maps = GradientInput(TWO.model).explain(given, LABELS)
    assert type(maps) is kind
    found = maps if kind is dict else dict(zip(TWO.inputs, maps, strict=True))
    for name, array in TWO.inputs.items():
        one = GradientInput(TWO.model, wrt=name).explain(given, LABELS)
        assert one.shape == array.shape
        close(found[name], one)


@pytest.mark.parametrize(("order", "shapes"), [(("image", "features"), 0), (("features", "image"), 1)])
def test_channels_of_the_image_are_reduced_wherever_it_stands(order, shapes):
    plain = Saliency(TWO.model, wrt=order, reducer=None).explain(TWO.inputs, LABELS)
    maps = Saliency(TWO.model, wrt=order).explain(TWO.inputs, LABELS)
    assert list(maps) == list(order)
    close(maps["image"], plain["image"].max(axis=1, keepdims=True))
    close(maps["features"], plain["features"])


def test_inputs_without_rows_are_given_but_not_explained():
    nodes = [node("Mul", ["x", "scale"], ["z"]), node("Mul", ["z", "z"], ["y"])]
    model = build(nodes, {"x": ["N", 4], "scale": []}, {"y": ["N", 4]})
    x = rows(1, 4)
    for method, expected in (("Saliency", np.abs(18 * x)), ("IntegratedGradients", 9 * x**2)):
        maps = make(method, model).explain({"x": x, "scale": 3.0}, np.ones((3, 4)))
        close(maps, expected)


def test_inputs_of_different_precisions():
    """f = (a b)^2, one factor in float16; four points on the path of both give 2 (ab)^2 (1/27 + 8/27 + 1/2) / 3."""
    nodes = [node("Cast", ["b"], ["b32"], to=TensorProto.FLOAT), node("Mul", ["a", "b32"], ["ab"]),
             node("Mul", ["ab", "ab"], ["y"])]  # fmt: skip
    model = build(nodes, {"a": ["N", 4], "b": (["N", 4], TensorProto.FLOAT16)}, {"y": ["N", 4]})
    given = {"a": rows(1, 4), "b": rows(2, 4).astype(np.float16)}
    expected = (given["a"] * given["b"].astype(np.float32)) ** 2
    for method, factor in (("GradientInput", 2), ("IntegratedGradients", 5 / 9)):
        maps = make(method, model).explain(given, np.ones((3, 4)))
        for name, tolerance in (("a", 2e-6), ("b", 2e-3)):
            close(maps[name], (factor * expected).astype(np.float32), tolerance)


# Ranks and precisions


@pytest.mark.parametrize("shape", [(5, 2), (3, 4, 2), (2, 3, 4, 2)])
def test_any_rank(shape):
    """Time series, images and volumes; the output has the input's rank, so targets are weights."""
    x = rows(1, *shape)
    weights = rows(2, *shape)
    for method, expected in (
        ("GradientInput", 3 * x**3 * weights),
        ("IntegratedGradients", 1.0625 * x**3 * weights),
    ):
        options = {"steps": 5 - 2} if method == "IntegratedGradients" else {}
        maps = getattr(attributions, method)(elementwise(shape), reducer=None, **options).explain(x, weights)
        expected = (
            expected * (1.125 / 1.0625) if options else expected
        )  # 1 + 1 / (2 (steps - 1)^2), three steps
        close(maps, expected.astype(np.float32), 2e-6)


PRECISIONS = {np.float64: 1e-6, np.float16: 2e-2}


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("method", ON_ANY_MODEL)
def test_precisions_of_the_model(method, dtype):
    expected = make(method, MLP.model).explain(MLP.given, LABELS)
    explainer = make(method, mlp(dtype).model)
    maps = explainer.explain(MLP.given, LABELS)
    assert maps.dtype == np.float32
    close(maps, expected, PRECISIONS[dtype] * (5 if method == "VarGrad" else 1))
    assert explainer.predict(MLP.given).dtype == dtype


def test_an_input_that_the_model_holds_a_value_of():
    """ONNX Runtime lets it be given; it is a constant here, and is said to be one."""
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18]> g (float[N,3] x, float[1] scale) => (float[N,3] y)
        <float[1] scale = {2}> { s = Sin(x) y = Mul(s, scale) }"""
    )
    x = np.ones((1, 3), np.float32)
    np.testing.assert_allclose(GradientInput(model).explain(x, [0]), [[2 * np.cos(1), 0, 0]], rtol=1e-5)
    with pytest.raises(ShapeError, match=r"unknown: \['scale'\].*have a value in the model.*remove it there"):
        GradientInput(model).explain({"x": x, "scale": np.array([5], np.float32)}, [0])


@pytest.mark.parametrize(
    ("array", "fits"),
    [
        (np.array([[2.0**53]]), False),
        (np.array([[2.0**53 - 1]]), True),
        (np.array([[-(2.0**60)]]), False),
        (np.array([[2**24]], np.float32), False),
        (np.array([[2**24 - 1]], np.float32), True),
        (np.array([[2**11]], np.float16), False),
        (np.array([[2**53 + 1]]), True),
    ],
)
def test_floats_for_integers_are_those_integers(array, fits):
    """2^53 as a float may have been 2^53 + 1."""
    nodes = [node("Cast", ["i"], ["f"], to=1), node("Add", ["x", "f"], ["y"])]
    model = build(nodes, {"x": ["N", 1], "i": (["N", 1], TensorProto.INT64)}, {"y": ["N", 1]})
    method = GradientInput(model)
    given = {"x": np.ones((1, 1), np.float32), "i": array}
    if fits:
        assert method.predict(given) == np.float32(1) + np.float32(array.item())
        return
    with pytest.raises(ShapeError, match="may have been another integer"):
        method.predict(given)
