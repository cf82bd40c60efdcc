"""Whatever form inputs and targets come in, the attributions are those of the plain arrays."""

import warnings

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto
from small_models import build, cnn_nchw, cnn_nhwc, elementwise, mlp, node, random, rows, two_inputs

import onnxattr.attributions as attributions
from onnxattr.attributions import DeconvNet, GradientInput, IntegratedGradients, Saliency, SmoothGrad
from onnxattr.session import Session

MLP, NHWC, NCHW, TWO = mlp(), cnn_nhwc(), cnn_nchw(), two_inputs()
FEW = {
    "IntegratedGradients": {"steps": 4},
    **{m: {"nb_samples": 3} for m in ("SmoothGrad", "SquareGrad", "VarGrad")},
}
LABELS = np.array([2, 0, 1])


def make(method, model, **options):
    return getattr(attributions, method)(model, **FEW.get(method, {}) | options)


def close(found, expected, tolerance=1e-6):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


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
}


@pytest.mark.parametrize("form", FORMS)
def test_array_like_inputs(form):
    expected = Saliency(MLP.model).explain(WHOLE.astype(np.float32), LABELS)
    maps = Saliency(MLP.model).explain(FORMS[form], LABELS)
    assert maps.dtype == np.float32
    np.testing.assert_array_equal(maps, expected)


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


@pytest.mark.parametrize("requires_grad", [False, True])
def test_torch_tensors(requires_grad):
    torch = pytest.importorskip("torch")
    expected = Saliency(MLP.model).explain(MLP.given, LABELS)
    x = torch.tensor(MLP.given, requires_grad=requires_grad)
    np.testing.assert_array_equal(Saliency(MLP.model).explain(x, torch.tensor(LABELS)), expected)


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


# Targets

LINEAR = ["GradientInput", "IntegratedGradients", "SmoothGrad"]  # in the targets


@pytest.mark.parametrize("method", attributions.__all__)
@pytest.mark.filterwarnings("ignore:.*overrides ReLUs:UserWarning")
def test_ways_to_say_the_predicted_class(method):
    explainer = make(method, MLP.model)
    predicted = explainer.predict(MLP.given).argmax(axis=1)
    assert len(set(predicted)) > 1
    expected = explainer.explain(MLP.given, np.eye(4, dtype=np.float32)[predicted])
    mixed = np.where([True, False, True], predicted, -1)
    for targets in (None, -np.ones(3, int), predicted, list(predicted), predicted.astype(np.uint8), mixed,
                    np.eye(4, dtype=bool)[predicted], np.eye(4, dtype=int)[predicted].tolist()):  # fmt: skip
        close(explainer.explain(MLP.given, targets), expected)


@pytest.mark.parametrize("method", LINEAR)
def test_weights_mix_the_classes(method):
    explainer = make(method, MLP.model)
    each = np.stack([explainer.explain(MLP.given, np.full(3, label)) for label in range(4)], axis=1)
    weights = np.random.default_rng(9).normal(size=(3, 4))
    close(explainer.explain(MLP.given, weights), np.einsum("nc,nci->ni", weights, each), 2e-6)
    contrast = np.array([[1, -1, 0, 0]] * 3)
    close(explainer.explain(MLP.given, contrast), each[:, 0] - each[:, 1], 2e-6)


@pytest.mark.parametrize("weights", [None, [1.0, -2.0, 0.5]])
def test_outputs_without_classes(weights):
    """An output (N,) is its own score."""
    axes = {"axes": np.array([1])}
    nodes = [node("Mul", ["x", "x"], ["squares"]), node("ReduceSum", ["squares", "axes"], ["y"], keepdims=0)]
    model = build(nodes, {"x": ["N", 6]}, {"y": ["N"]}, axes)
    scale = np.ones(3) if weights is None else np.array(weights)
    for method in LINEAR[:2]:
        factor = 2 if method == "GradientInput" else 1
        maps = make(method, model).explain(MLP.given, weights)
        close(maps, (factor * MLP.given**2 * scale[:, None]).astype(np.float32))


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


# Precisions

PRECISIONS = {np.float64: 1e-6, np.float16: 2e-2}


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("method", attributions.__all__)
def test_precisions_of_the_model(method, dtype):
    expected = make(method, MLP.model).explain(MLP.given, LABELS)
    explainer = make(method, mlp(dtype).model)
    maps = explainer.explain(MLP.given, LABELS)
    assert maps.dtype == np.float32
    close(maps, expected, PRECISIONS[dtype] * (5 if method == "VarGrad" else 1))
    assert explainer.predict(MLP.given).dtype == dtype


# Reducers and channels

REDUCERS = {"min": np.min, "mean": np.mean, "max": np.max, "sum": np.sum}


@pytest.mark.parametrize("reducer", REDUCERS)
@pytest.mark.parametrize("method", attributions.__all__)
@pytest.mark.parametrize(("case", "axis"), [(NHWC, 3), (NCHW, 1)], ids=["channels last", "channels first"])
def test_reducers(case, axis, method, reducer):
    plain = make(method, case.model, reducer=None).explain(case.given, LABELS)
    assert plain.shape == case.given.shape
    maps = make(method, case.model, reducer=reducer).explain(case.given, LABELS)
    close(maps, REDUCERS[reducer](plain, axis=axis, keepdims=True), 3e-6)


DEFAULTS = {"Saliency": np.max, "GradientInput": None, "DeconvNet": None}


@pytest.mark.parametrize("method", attributions.__all__)
def test_default_reducers(method):
    plain = make(method, NHWC.model, reducer=None).explain(NHWC.given, LABELS)
    reducer = DEFAULTS.get(method, np.mean)
    expected = plain if reducer is None else reducer(plain, axis=3, keepdims=True)
    close(make(method, NHWC.model).explain(NHWC.given, LABELS), expected, 3e-6)


@pytest.mark.parametrize("given", [1, 2, 3, -1, -2, -3])
def test_channel_axis_can_be_said(given):
    plain = Saliency(NCHW.model, reducer=None).explain(NCHW.given, LABELS)
    maps = Saliency(NCHW.model, channel_axis=given).explain(NCHW.given, LABELS)
    close(maps, plain.max(axis=given, keepdims=True))


def image_model(first, shape, channels_first):
    """An image that goes through ``first`` and a convolution."""
    perm = [] if channels_first else [node("Transpose", ["a"], ["t"], perm=[0, 3, 1, 2])]
    size = 2
    nodes = [
        node(first, ["image"], ["a"]), *perm,
        node("Conv", ["a" if channels_first else "t", "k"], ["c"]),
        node("GlobalAveragePool", ["c"], ["g"]), node("Flatten", ["g"], ["y"]),
    ]  # fmt: skip
    channels = shape[0] if channels_first else shape[-1]
    weights = {"k": random(1, size, channels, 2, 2)}
    return build(nodes, {"image": ["N", *shape]}, {"y": ["N", size]}, weights)


CHANNELS = {
    "three rows, channels last": (image_model("Neg", (3, 5, 6), False), (3, 5, 6), 3),
    "three columns, channels first": (image_model("Tanh", (6, 5, 3), True), (6, 5, 3), 1),
    "grey, channels first": (image_model("Relu", (1, 5, 6), True), (1, 5, 6), 1),
    "no convolution, three planes": (elementwise([3, 5, 6]), (3, 5, 6), 1),
    "no convolution, three channels": (elementwise([5, 6, 3]), (5, 6, 3), 3),
}


@pytest.mark.parametrize("case", CHANNELS)
def test_channel_axis_is_found(case):
    model, shape, axis = CHANNELS[case]
    targets = rows(1, *shape) if "no convolution" in case else np.array([0, 1, 0])
    maps = Saliency(model).explain(rows(2, *shape), targets)
    assert maps.shape == tuple(1 if i == axis else n for i, n in enumerate((3, *shape)))


# Baselines

BASELINES = [
    0.5,
    1,
    np.float64(-0.25),
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    np.arange(6) % 2,
    np.linspace(-1, 1, 6),
]


@pytest.mark.parametrize("baseline", BASELINES, ids=str)
def test_baselines(baseline):
    """f = x^3: with two points IG is (x - b) (3 x^2 + 3 b^2) / 2."""
    b = np.asarray(baseline, np.float64)
    x = MLP.given.astype(np.float64)
    maps = IntegratedGradients(elementwise([6]), steps=2, baseline_value=baseline).explain(x, np.ones((3, 6)))
    close(maps, ((x - b) * 1.5 * (x**2 + b**2)).astype(np.float32), 2e-6)


def test_image_baseline():
    """The maps add up to f(x) - f(b), but for what the trapezoids lose at the kinks: 3e-3 at 300 steps, 7e-4 here."""
    base = rows(6, 8, 9, 3)[0]
    filled = IntegratedGradients(NHWC.model, steps=2000, batch_size=None, baseline_value=base, reducer=None)
    maps = filled.explain(NHWC.given, LABELS)
    scores = [filled.predict(x)[np.arange(3), LABELS] for x in (NHWC.given, np.stack([base] * 3))]
    np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)), scores[0] - scores[1], atol=1e-3)


# Progress, warnings, predictions


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (False, False), (None, False)])
def test_progress_bar(progress, shown, capfd):
    IntegratedGradients(MLP.model, steps=4, progress=progress).explain(MLP.given, LABELS)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("IntegratedGradients" in err and "12" in err) == shown
    assert shown or err == ""


HEAD = "To explain the logits, pass output_layer='logits'"
NO_RELU = "the model has none"
PROBABILITIES = {head: mlp(head=head).model for head in ("Softmax", "Sigmoid")}
WARNINGS = {
    "softmax": ("Saliency", PROBABILITIES["Softmax"], {}, HEAD),
    "sigmoid": ("GuidedBackprop", PROBABILITIES["Sigmoid"], {}, HEAD),
    "softmax by name": ("Saliency", PROBABILITIES["Softmax"], {"output_layer": "probabilities"}, None),
    "logits of a softmax": ("Saliency", PROBABILITIES["Softmax"], {"output_layer": "logits"}, None),
    "probabilities on purpose": ("Saliency", PROBABILITIES["Softmax"], {"operator": "classification"}, None),
    "logits": ("Saliency", MLP.model, {}, None),
    "no ReLU": ("DeconvNet", elementwise([6]), {}, NO_RELU),
    "no ReLU, guided": ("GuidedBackprop", elementwise([6]), {}, NO_RELU),
    "no ReLU, plain gradient": ("Saliency", elementwise([6]), {}, None),
    "ReLU": ("DeconvNet", MLP.model, {}, None),
    "ReLU cut off": ("DeconvNet", MLP.model, {"output_layer": "hidden"}, NO_RELU),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_warnings(case):
    method, model, options, expected = WARNINGS[case]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(attributions, method)(model, **options)
    assert [expected in str(warning.message) for warning in caught] == ([True] if expected else [])
    assert all(warning.filename == __file__ for warning in caught)


@pytest.mark.parametrize("batch_size", [1, 2, None])
@pytest.mark.parametrize("case", [MLP, NHWC, TWO], ids=["mlp", "image", "two inputs"])
def test_predictions_are_those_of_the_model(case, batch_size):
    (expected,) = onnxruntime.InferenceSession(case.model.SerializeToString()).run(None, case.inputs)
    found = Saliency(case.model, batch_size=batch_size).predict(case.given)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_predictions_of_a_cut_model():
    found = Saliency(PROBABILITIES["Softmax"], output_layer="logits").predict(MLP.given)
    np.testing.assert_allclose(found, Saliency(MLP.model).predict(MLP.given), rtol=1e-6)


# The two ReLU policies on a converted model


@pytest.fixture(scope="module")
def nested_relu():
    """y = 10 relu(x), the ReLU in a nested model, of which Xplique knows nothing."""
    keras = pytest.importorskip("keras")
    from onnxattr.converters.keras import to_onnx

    inner = keras.Sequential([keras.Input((4,)), keras.layers.ReLU(name="r")], name="inner")
    dense = keras.layers.Dense(
        4, use_bias=False, kernel_initializer=keras.initializers.Constant(10 * np.eye(4))
    )
    return to_onnx(keras.Sequential([keras.Input((4,)), inner, dense]))


@pytest.mark.parametrize(("policy", "expected"), [("all", [10, 10, 10, 10]), ("xplique", [10, 0, 0, 10])])
@pytest.mark.filterwarnings("ignore:.*the model has none:UserWarning")
def test_relu_policies_of_a_nested_model(nested_relu, policy, expected):
    points = np.array([[5, 0, -5, 10]])
    maps = DeconvNet(nested_relu, relu_policy=policy).explain(points, np.ones((1, 4)))
    np.testing.assert_array_equal(maps, [expected])
