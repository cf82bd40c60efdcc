"""What an explanation says: scores, baseline scores, gaps, targets and names against closed forms; and as an array."""

import numpy as np
import pandas
import pytest
from support.results import BASELINE, IMAGE, PHOTOS, STEPS, W, X, explanation, model

import onnxattr
from onnxattr import GradientInput, IntegratedGradients, Saliency, SmoothGrad
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.loading.meaning.features import KEY, features_text
from onnxattr.results import Explanation
from onnxattr.session import Session

TWO = """g (float[N, 3] u, float[N, 2] v) => (float[N, 1] y)
    <int64[1] axis = {1}> { s = Mul(v, v) a = ReduceSum(u, axis) b = ReduceSum(s, axis) y = Add(a, b) }"""


@pytest.fixture(scope="module")
def explained():
    return explanation()


def scores_of(x, labels):
    return (x.astype(np.float64) ** 3 @ W.T.astype(np.float64))[np.arange(len(x)), labels]


def gap_of(x, labels):
    return (W.astype(np.float64)[labels] * (x - BASELINE) ** 3).sum(axis=1) / (2 * (STEPS - 1) ** 2)


@pytest.fixture(scope="module", params=["driven", "batch", "loop"])
def path_method(request, tmp_path_factory):
    method = IntegratedGradients(model(), steps=STEPS, baseline_value=BASELINE, batch_size=4)
    if request.param == "driven":
        return method
    path = tmp_path_factory.mktemp("files") / "explainer.onnx"
    method.export(path, rendering=request.param)
    return onnxattr.load(path)


@pytest.mark.parametrize("labels", [None, [0, 0, 1], [-1, 1, 0]])
def test_scores_and_gaps_of_a_path(path_method, labels):
    best = (X.astype(np.float64) ** 3 @ W.T).argmax(axis=1)
    wanted = best if labels is None else np.where(np.array(labels) < 0, best, labels)
    found = path_method(X, None if labels is None else np.array(labels))
    np.testing.assert_array_equal(found.targets, wanted)
    assert found.target_names == tuple(f"class {label}" for label in wanted)
    score, base = scores_of(X, wanted), scores_of(np.full_like(X, BASELINE), wanted)
    np.testing.assert_allclose(found.scores, score, rtol=1e-6)
    np.testing.assert_allclose(found.baseline_scores, base, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.delta, gap_of(X, wanted), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        found.relative_gap, np.abs(gap_of(X, wanted) / (score - base)), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(found.sum(axis=1) - found.delta, score - base, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(found), path_method.explain(X, found.targets))
    np.testing.assert_array_equal(found.delta, path_method.convergence_delta(X, found.targets))
    assert {
        name: getattr(found, name).dtype for name in ("scores", "baseline_scores", "delta", "relative_gap")
    } == (dict.fromkeys(("scores", "baseline_scores", "delta", "relative_gap"), np.float32))
    assert (found.method, found.output, found.layer) == (
        "IntegratedGradients",
        "y" if isinstance(path_method, IntegratedGradients) else "prediction",
        None,
    )
    np.testing.assert_array_equal(found.inputs["x"], X)
    assert found.spent_steps is None


@pytest.mark.parametrize("reducer", [None, "mean", "sum", "max"])
def test_baseline_scores_of_an_exported_file_of_images(reducer, tmp_path):
    """They come from the sum of the attributions, which a maximum over channels does not tell."""
    method = IntegratedGradients(model(IMAGE), steps=4, reducer=reducer, baseline_value=0.25)
    method.export(tmp_path / "e.onnx")
    here, there = method(PHOTOS), onnxattr.load(tmp_path / "e.onnx")(PHOTOS)
    base = 20 * (np.array([1.0, 2.0, -1.0])[here.targets] * 0.25) ** 2
    np.testing.assert_allclose(here.baseline_scores, base, rtol=1e-4)
    if reducer == "max":
        assert there.baseline_scores is None
    else:
        np.testing.assert_allclose(there.baseline_scores, base, rtol=1e-4)
    np.testing.assert_allclose(there.delta, here.delta, atol=1e-5)
    np.testing.assert_allclose(there.relative_gap, here.relative_gap, atol=1e-6)
    assert here.axes["image"] == there.axes["image"] == ("row", "channel", "height", "width")


@pytest.mark.parametrize(
    ("targets", "kept", "names"),
    [
        (np.array([1, 0, 1]), [1, 0, 1], ("b", "a", "b")),
        (np.eye(2, dtype=np.float32)[[1, 0, 1]], [1, 0, 1], ("b", "a", "b")),
        (np.full((3, 2), 0.5, np.float32), np.full((3, 2), 0.5), ("", "", "")),
    ],
)
@pytest.mark.parametrize("method", [Saliency, GradientInput, SmoothGrad, IntegratedGradients])
def test_targets_of_every_form(method, targets, kept, names):
    found = method(model())(X, targets).named(classes=["a", "b"])
    np.testing.assert_array_equal(found.targets, kept)
    assert found.target_names == names
    weights = np.eye(2)[targets] if targets.ndim == 1 else targets
    np.testing.assert_allclose(
        found.scores, ((X.astype(np.float64) ** 3 @ W.T) * weights).sum(axis=1), rtol=1e-6
    )
    if method is not IntegratedGradients:
        assert found.baseline_scores is found.delta is found.relative_gap is None


@pytest.mark.parametrize(("label", "sign"), [(1, 1), (0, -1)])
def test_the_probability_of_one_unit(label, sign):
    unit = model(
        "g (float[N, 3] x) => (float[N, 1] y) <float[3, 1] w = {1, -2, 0.5}> { l = MatMul(x, w) y = Sigmoid(l) }"
    )
    found = IntegratedGradients(unit, operator="classification", steps=200)(X, np.full(3, label))
    p = 1 / (1 + np.exp(-(X @ np.array([1, -2, 0.5]))))
    np.testing.assert_allclose(found.scores, p if label else 1 - p, rtol=1e-5)
    np.testing.assert_allclose(found.baseline_scores, 0.5, rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), sign * (p - 0.5), atol=1e-3)
    assert found.score_name == "probability"
    assert found.target_names == (f"class {label}",) * 3


@pytest.mark.parametrize("method", [Saliency, SmoothGrad, IntegratedGradients])
def test_no_run_more_where_the_prediction_is_there(method, monkeypatch):
    """The predicted class takes the prediction; what else takes none has one run more, unless x itself is a point."""
    runs, run = [], Session.run
    monkeypatch.setattr(Session, "run", lambda self, feeds: runs.append(1) or run(self, feeds))
    explained = method(model(), operator="classification")
    counts = {}
    given = {"predicted": None, "labels": np.array([0, 1, 0]), "weights": np.full((3, 2), 0.5, np.float32)}
    for name, targets in given.items():
        for full in (False, True):
            runs.clear()
            explained.explain(X, targets, full=full)
            counts[name, full] = len(runs)
    assert counts["predicted", True] == counts["predicted", False]
    assert counts["labels", True] == counts["labels", False] + (method is IntegratedGradients)
    if method is IntegratedGradients:
        assert counts["labels", False] == counts["predicted", False] - 1
    assert counts["weights", True] == counts["weights", False] + (method is not Saliency)


@pytest.mark.parametrize("single", [True, False])
def test_datasets(single):
    batches = [(X[:2], np.array([0, 1])), (X[2:], np.array([1]))]
    given = iter((x, y) for x, y in batches) if not single else iter(X)
    found = IntegratedGradients(model(), steps=STEPS, baseline_value=BASELINE)(given)
    labels = np.array([0, 1, 1]) if not single else (X.astype(np.float64) ** 3 @ W.T).argmax(axis=1)
    np.testing.assert_array_equal(found.targets, labels)
    np.testing.assert_allclose(found.scores, scores_of(X, labels), rtol=1e-6)
    np.testing.assert_allclose(found.delta, gap_of(X, labels), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.inputs["x"], X)


ARRAYS = {
    "shape": lambda e: np.array(e.shape),
    "dtype, ndim, size": lambda e: np.array([e.dtype == np.float32, e.ndim, e.size]),
    "len": len,
    "a row": lambda e: e[1],
    "a number": lambda e: e[1, 2],
    "a slice": lambda e: e[:, :2],
    "a mask": lambda e: e[np.asarray(e) > 0],
    "comparison": lambda e: e > 0,
    "iteration": lambda e: np.stack(list(e)),
    "+ - * / **": lambda e: (2 + e - 1) * e / 3 + e**2,
    "with itself": lambda e: e * e,
    "matmul": lambda e: e @ np.ones((3, 2)),
    "negative": lambda e: -e,
    "np.abs": np.abs,
    "np.asarray": np.asarray,
    "np.array in float64": lambda e: np.array(e, np.float64),
    "max": lambda e: e.max(),
    "np.max with axis": lambda e: np.max(e, axis=1),
    "mean": lambda e: e.mean(axis=0, keepdims=True),
    "sum": lambda e: np.sum(e),
    "std, percentile": lambda e: np.array([e.std(), np.percentile(e, 90)]),
    "astype": lambda e: e.astype(np.float16),
    "reshape, transpose": lambda e: e.reshape(-1, 1).T,
    "np.concatenate": lambda e: np.concatenate([e, e]),
    "np.where": lambda e: np.where(e > 0, e, 0),
    "np.linalg.norm": np.linalg.norm,
    "argsort": lambda e: np.argsort(e),
    "tolist": lambda e: np.array(e.tolist()),
    "einsum": lambda e: np.einsum("ij->j", e),
    "memoryview": lambda e: np.frombuffer(e.tobytes(), e.dtype),
    "from_dlpack": np.from_dlpack,
    "np.isfinite, all": lambda e: np.isfinite(e).all(),
    "np.add.reduce": np.add.reduce,
    "np.stack": lambda e: np.stack([e, 2 * e]),
    "in": lambda e: np.array(0.0 in e),
}


@pytest.mark.parametrize("use", ARRAYS.values(), ids=ARRAYS)
def test_code_for_arrays_works(use, explained):
    found, wanted = use(explained), use(explained.numpy())
    np.testing.assert_array_equal(found, wanted)
    assert type(found) is type(wanted)


def test_it_is_changed_as_an_array_is(explained):
    copy = explained.select(slice(None))
    before, same = copy.numpy().copy(), copy
    copy += 1
    copy[0] = 7
    np.add(copy, 1, out=copy)
    assert copy is same
    np.testing.assert_allclose(copy.numpy(), np.concatenate([np.full((1, 3), 8.0), before[1:] + 2]))
    assert isinstance(np.add(copy, 1), np.ndarray)
    with pytest.raises(TypeError):
        hash(copy)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = copy.nonsense


def test_tensors_are_made_of_it(explained):
    tf = pytest.importorskip("tensorflow")
    np.testing.assert_array_equal(tf.convert_to_tensor(explained).numpy(), explained.numpy())
    np.testing.assert_array_equal(tf.reduce_sum(explained, -1).numpy(), explained.numpy().sum(-1))
    dataset = tf.data.Dataset.from_tensor_slices(explained.numpy())
    assert len(dataset) == 3


def test_several_inputs_are_a_list_or_a_dict():
    u, v = X, X[:, :2]
    method = GradientInput(model(TWO))
    listed, named = method([u, v]), method({"u": u, "v": v})
    first, second = listed
    np.testing.assert_allclose(first, u)
    np.testing.assert_allclose(second, 2 * v**2, rtol=1e-6)
    np.testing.assert_array_equal(listed[1], named["v"])
    np.testing.assert_array_equal(listed[-1], second)
    assert list(named) == list(named.keys()) == ["u", "v"]
    assert [array.shape for array in named.values()] == [array.shape for _, array in named.items()]
    assert len(listed) == 2
    assert "u" in named
    assert list(listed.numpy()) == ["u", "v"]
    np.testing.assert_allclose(listed.scores, u.sum(axis=1) + (v**2).sum(axis=1), rtol=1e-6)
    with pytest.raises(TypeError, match=r"\['u', 'v'\].*explanation\['u'\]"):
        np.asarray(listed)
    with pytest.raises(KeyError, match="'w'"):
        _ = named["w"]


def test_a_layer_is_told_and_its_axes():
    found = GradientInput(model(IMAGE), wrt="c")(PHOTOS)
    assert found.layer == "c"
    assert list(found.attributions) == ["c"]
    np.testing.assert_array_equal(found.inputs["image"], PHOTOS)


def test_names_of_columns_stand_as_in_the_table():
    proto = model(**{KEY.replace(".", "__"): features_text({"x": ["age", "height", "mass"]})})
    frame = pandas.DataFrame(X[:, [2, 0, 1]], columns=["mass", "age", "height"])
    method = GradientInput(proto)
    found = method(frame)
    assert found.features == {"x": ("mass", "age", "height")}
    np.testing.assert_array_equal(found.inputs["x"], frame.to_numpy())
    np.testing.assert_array_equal(found.numpy()[:, 1], method.explain(X)[:, 0])
    assert method(X).features == {"x": ("age", "height", "mass")}
    unnamed = GradientInput(model())(pandas.DataFrame(X, columns=["p", "q", "r"]))
    assert unnamed.features == {"x": ("p", "q", "r")}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"features": ["a", "b"]}, "2 names of features for 'x'"),
        ({"features": "abc"}, "names of features"),
        ({"features": {"z": ["a"]}}, "'z'"),
        ({"tokens": [["a"]]}, "expected 3 sequences"),
        ({"tokens": ["a", "b", "c"]}, "expected 3 sequences"),
        ({"classes": ["one"]}, "has 1 names, and the output 2 classes"),
        ({"classes": ["background", "a", "b"]}, "has 3 names, and the output 2 classes"),
        ({"classes": {-1: "a", 0: "b"}}, "a name for the class -1; expected classes from 0 to 1"),
        ({"classes": {10**9: "a"}}, "a name for the class 1000000000; expected"),
        ({"classes": {}}, "has 0 names, none for the classes"),
        ({"classes": {"cat": 0}}, "has the key 'cat'; expected names by label"),
        ({"classes": b"ab"}, "expected a name for each class"),
        ({"tokens": [b"a", b"b", b"c"]}, "expected 3 sequences"),
        ({"classes": "ab"}, "expected a name for each class"),
    ],
)
def test_names_that_do_not_fit(given, message, explained):
    with pytest.raises(ShapeError, match=message):
        explained.named(**given)


def test_names_of_every_form(explained):
    for classes in ({"0": "a", "1": "b"}, [b"a", "b"], np.array(["a", "b"])):
        assert explained.named(classes=classes).classes == ("a", "b")
    tokens = explained.named(tokens=(row for row in [[b"p", "q"], ["r"], []])).tokens
    assert tokens == (("p", "q"), ("r",), ())


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
def test_a_count_of_classes_is_one(count, explained):
    with pytest.raises(ParameterError, match=f"count={count!r}: expected an integer from 1 on"):
        explained.top(count)


def test_samples_are_picked(explained):
    second, some = explained.sample(1), explained.select([2, 0])
    np.testing.assert_array_equal(second.numpy(), explained.numpy()[1:2])
    np.testing.assert_array_equal(some.scores, explained.scores[[2, 0]])
    np.testing.assert_array_equal(some.inputs["x"], X[[2, 0]])
    assert some.target_names == (explained.target_names[2], explained.target_names[0])
    np.testing.assert_array_equal(explained.sample(-1).delta, explained.delta[-1:])
    with pytest.raises(ParameterError, match="samples 0 to 2"):
        explained.sample(3)


def test_names_of_version_0_1_say_the_new_ones(explained):
    with pytest.warns(DeprecationWarning, match="sample now"):
        np.testing.assert_array_equal(explained.row(-1).delta, explained.delta[-1:])
    with pytest.warns(DeprecationWarning, match="sample_count now"):
        assert explained.rows == explained.sample_count == 3
    with (
        pytest.warns(DeprecationWarning, match="sample now"),
        pytest.raises(ParameterError, match="rows 0 to 2"),
    ):
        explained.row(3)


def test_what_is_one_sample_has_one_score():
    mixed = model("g (float[T, 3] x) => (float[2] y) <float[3, 2] w = {1, 0.25, -2, 3, 0.5, -1}, int64[1] axis = {0}> "
                  "{ c = ReduceSum <keepdims = 0> (x, axis) s = Mul(c, c) y = MatMul(s, w) }")  # fmt: skip
    with pytest.warns(UserWarning, match="one sample"):
        found = IntegratedGradients(mixed, steps=20)(X, np.array([0.0, 1.0], np.float32))
    assert found.one_sample
    assert found.shape == X.shape
    total = float((X.sum(axis=0) ** 2 * W[1]).sum())
    np.testing.assert_allclose(found.scores, [total], rtol=1e-5)
    np.testing.assert_allclose(found.sum() - found.delta, [total], rtol=1e-4)
    np.testing.assert_array_equal(found.inputs["x"], X)
    assert found.axes["x"][0] == "axis 0"


def test_the_repr_has_no_empty_names_of_targets():
    found = Explanation({"x": np.zeros((4, 2))}, "Saliency", np.zeros((4, 3)), np.zeros(4), ("",) * 4)
    assert repr(found) == "Explanation({'x': (4, 2)}, by Saliency())"
