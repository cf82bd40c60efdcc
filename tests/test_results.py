"""What an explanation says: scores, baseline scores, gaps, targets and names against closed forms; and as an array."""

import contextlib
import json
import os
import zipfile
from html.parser import HTMLParser

import ml_dtypes
import numpy as np
import onnx
import pandas
import pytest
from support.tiny_graphs import parse

import onnxattr
from onnxattr import Explanation, GradientInput, IntegratedGradients, Saliency, SmoothGrad
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.loading.features import KEY, features_text
from onnxattr.results.picture import kind_of
from onnxattr.session import Session

#: y = W x^3: along a path of m intervals the trapezoid rule misses sum_i W_ci d_i^3 / (2 m^2).
W = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]], np.float32)
CUBIC = """g (float[N, 3] x) => (float[N, 2] y)
    <float[3, 2] w = {1, 0.25, -2, 3, 0.5, -1}> { s = Mul(x, x) c = Mul(s, x) y = MatMul(c, w) }"""
TWO = """g (float[N, 3] u, float[N, 2] v) => (float[N, 1] y)
    <int64[1] axis = {1}> { s = Mul(v, v) a = ReduceSum(u, axis) b = ReduceSum(s, axis) y = Add(a, b) }"""
IMAGE = """g (float[N, 3, 4, 5] image) => (float[N, 3] y)
    <float[3, 3, 1, 1] w = {1, 0, 0, 0, 2, 0, 0, 0, -1}, int64[2] axes = {2, 3}>
    { c = Conv(image, w) s = Mul(c, c) y = ReduceSum <keepdims = 0> (s, axes) }"""
RNG = np.random.default_rng(0)
X = np.array([[1.0, 2.0, -1.0], [0.5, -1.0, 3.0], [2.0, 0.25, 0.0]], np.float32)
PHOTOS = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
STEPS, BASELINE = 5, 0.5


def model(text=CUBIC, **metadata) -> onnx.ModelProto:
    proto = parse(text)
    onnx.helper.set_model_props(proto, {key.replace("__", "."): value for key, value in metadata.items()})
    return proto


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
    """With labels the prediction is computed anyway; with weights it is one run more, unless x itself is a point."""
    runs, run = [], Session.run
    monkeypatch.setattr(Session, "run", lambda self, feeds: runs.append(1) or run(self, feeds))
    explained = method(model(), operator="classification")
    counts = {}
    for name, targets in (("labels", np.array([0, 1, 0])), ("weights", np.full((3, 2), 0.5, np.float32))):
        for full in (False, True):
            runs.clear()
            explained.explain(X, targets, full=full)
            counts[name, full] = len(runs)
    assert counts["labels", True] == counts["labels", False]
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


@pytest.fixture(scope="module")
def explained():
    return IntegratedGradients(model(), steps=STEPS, baseline_value=BASELINE)(X)


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
        ({"classes": ["one"]}, "has 1 names, none for the classes"),
        ({"classes": "ab"}, "expected a name for each class"),
    ],
)
def test_names_that_do_not_fit(given, message, explained):
    with pytest.raises(ShapeError, match=message):
        explained.named(**given)


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


def rich() -> Explanation:
    """An explanation that has everything, with names that are hostile."""
    return Explanation(
        {"<x>": X, "ids": RNG.normal(size=(3, 4)).astype(np.float32)},
        "A<b>&method",
        np.array([1, 0, 1]),
        np.array([0.5, np.nan, -np.inf], np.float32),
        ('</td><script>alert("1")</script>', "'b'", ""),
        baseline_scores=np.zeros(3, np.float32),
        delta=np.array([1e-45, 1, 2], np.float32),
        relative_gap=np.array([0.1, np.inf, 0], np.float32),
        spent_steps=np.array([9, 800, 50]),
        parameters={"steps": 50, "baseline_value": np.arange(3.0), "operator": len, "wrt": None},
        model="/tmp/<img src=x>.onnx",
        output="logits&<i>",
        layer="<layer>",
        inputs={
            "half": X.astype(ml_dtypes.bfloat16),
            "ids": np.arange(3),
            "flag": np.array([True, False, True]),
        },
        axes={"<x>": ("row", "feature"), "ids": ("row", "token")},
        features={"<x>": ("<script>", "b", "\u2028")},
        classes=("a", "b"),
        as_dict=True,
    )


def same(a: Explanation, b: Explanation) -> None:
    for name in a.__dataclass_fields__:
        left, right = getattr(a, name), getattr(b, name)
        if isinstance(left, np.ndarray):
            assert (left.dtype, left.tobytes()) == (right.dtype, right.tobytes()), name
        elif isinstance(left, dict) and left and isinstance(next(iter(left.values())), np.ndarray):
            assert list(left) == list(right)
            for key in left:
                assert (left[key].dtype, left[key].tobytes()) == (right[key].dtype, right[key].tobytes()), (
                    name,
                    key,
                )
                assert left[key].shape == right[key].shape
        elif name != "parameters":
            assert left == right, name


def test_a_file_has_every_bit(tmp_path, explained):
    given = rich()
    given.save(tmp_path / "e.npz")
    found = Explanation.load(tmp_path / "e.npz")
    same(given, found)
    assert found.parameters["steps"] == 50
    assert found.parameters["baseline_value"] == [0.0, 1.0, 2.0]
    tokens = explained.named(tokens=[["a", "b"], ["c"], ["<d>", "e", "f"]])
    tokens.save(tmp_path / "t.npz", inputs=False)
    again = Explanation.load(tmp_path / "t.npz")
    assert again.tokens == tokens.tokens
    assert again.inputs == {}
    np.testing.assert_array_equal(again.numpy(), explained.numpy())
    with np.load(tmp_path / "e.npz", allow_pickle=False) as arrays:
        assert json.loads(arrays["about"].tobytes())["version"] == 1


def changed(arrays: dict, **about) -> dict:
    told = json.loads(arrays["about"].tobytes()) | about
    return arrays | {"about": np.frombuffer(json.dumps(told).encode(), np.uint8)}


DAMAGES = {
    "another array": lambda a: {"x": a["scores"]},
    "no scores": lambda a: {name: array for name, array in a.items() if name != "scores"},
    "fewer targets": lambda a: a | {"targets": a["targets"][:2]},
    "a pickle": lambda a: a | {"scores": np.array([print, 1, 2], object)},
    "text in place of numbers": lambda a: a | {"scores": np.array(["a", "b", "c"])},
    "about is no json": lambda a: a | {"about": np.frombuffer(b"{", np.uint8)},
    "about is deep": lambda a: a | {"about": np.frombuffer(b"[" * 100000, np.uint8)},
    "about is a list": lambda a: a | {"about": np.frombuffer(b"[1]", np.uint8)},
    "a version that is text": lambda a: changed(a, version="1"),
    "a method that is a number": lambda a: changed(a, method=3),
    "names that are numbers": lambda a: changed(a, target_names=[1, 2, 3]),
    "axes that are text": lambda a: changed(a, axes="abc"),
    "attributions that are not there": lambda a: changed(a, attributions=["a", "b", "c"]),
    "a number that is no half": lambda a: changed(a, bfloat16=["scores"]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_are_refused(damage, tmp_path):
    rich().save(tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    np.savez(tmp_path / "d.npz", **damage(arrays))
    with pytest.raises(ParameterError, match=r"d\.npz cannot be read as an explanation: .*Explanation\.save"):
        Explanation.load(tmp_path / "d.npz")


class Acts:
    """What makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("entry", ["scores", "about", "more"])
def test_opening_a_file_runs_nothing(entry, tmp_path):
    rich().save(tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    np.savez(tmp_path / "d.npz", **arrays | {entry: np.array([Acts(tmp_path / "made")], object)})
    with pytest.raises(ParameterError, match="cannot be read"):
        Explanation.load(tmp_path / "d.npz")
    assert not (tmp_path / "made").exists()


def test_files_that_end_early_are_something_else_or_come_later(tmp_path):
    rich().save(tmp_path / "e.npz")
    whole = (tmp_path / "e.npz").read_bytes()
    for size in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        (tmp_path / "d.npz").write_bytes(whole[:size])
        with pytest.raises(ParameterError, match="cannot be read"):
            Explanation.load(tmp_path / "d.npz")
    for place in range(0, len(whole), 97):  # a flipped byte is found, or is in what means nothing
        flipped = bytearray(whole)
        flipped[place] ^= 0x55
        (tmp_path / "d.npz").write_bytes(flipped)
        with contextlib.suppress(ParameterError):
            Explanation.load(tmp_path / "d.npz")
    np.save(tmp_path / "a.npy", X)
    for path in (tmp_path / "a.npy", tmp_path / "none.npz", tmp_path):
        with pytest.raises(ParameterError, match="cannot be read"):
            Explanation.load(path)
    with np.load(tmp_path / "e.npz") as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    np.savez(tmp_path / "later.npz", **changed(arrays, version=2))
    with pytest.raises(ParameterError, match=r"later version.*format 2"):
        Explanation.load(tmp_path / "later.npz")
    np.savez_compressed(tmp_path / "bomb.npz", **arrays | {"scores": np.zeros(10**6)})
    with pytest.raises(ParameterError, match="compressed"):
        Explanation.load(tmp_path / "bomb.npz")
    with pytest.raises(ParameterError, match=r"\.npz"):
        rich().save(tmp_path / "e.pkl")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    (tmp_path / "e.npz").write_bytes(b"old")
    (tmp_path / "e.npz").chmod(0o444)
    with pytest.raises(ParameterError, match="no folder"):
        rich().save(tmp_path / "none" / "e.npz")
    assert zipfile.is_zipfile(tmp_path / "e.npz") is False


class Page(HTMLParser):
    """Collects tags, texts and the attributes; checks that tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.attributes, self.open = [], [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.setdefault(tag, []).append(dict(attrs))
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_html_escapes_every_name():
    page = Page(rich()._repr_html_())
    assert not page.open
    assert set(page.tags) <= {"div", "b", "table", "tr", "th", "td", "span", "img"}
    text = " ".join(page.texts)
    for shown in (
        '</td><script>alert("1")</script>',
        "A<b>&method",
        "<img src=x>",
        "logits&<i>",
        "<layer>",
        "<x>",
    ):
        assert shown in text
    for attributes in (found for tag in page.attributes.values() for found in tag):
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")


def test_html_says_scores_and_gaps(explained):
    page = Page(explained.named(classes=["cat", "dog"])._repr_html_())
    cells = page.texts
    for score in explained.scores:
        assert f"{score:.3g}".replace("-", "\N{MINUS SIGN}") in cells
    assert f"{100 * explained.relative_gap[1]:.2g} %" in cells
    assert ("cat" in cells) or ("dog" in cells)
    assert page.attributes["img"][0]["src"].startswith("data:image/png;base64,iVBOR")
    assert explained._repr_png_().startswith(b"\x89PNG")


def test_html_of_texts_has_a_span_for_each_token():
    tokens = [["[CLS]", "<b>un", "##fair", "&", "[PAD]"]]
    found = Explanation(
        {"x": np.array([[0.0, 1.0, -0.5, np.nan, 9.0]], np.float32)},
        "M",
        np.array([0]),
        np.array([1.0], np.float32),
    ).named(tokens=tokens)
    page = Page(found._repr_html_())
    spans = page.attributes["span"]
    assert [span["title"] for span in spans] == ["0", "1", "\N{MINUS SIGN}0.5", "nan"]
    assert "rgba(178,24,43,0.850)" in spans[1]["style"]
    assert "rgba(33,102,172,0.425)" in spans[2]["style"]
    assert "<b>un" in page.texts
    assert "fair" in page.texts
    assert "img" not in page.tags


def test_html_without_matplotlib_is_the_table(monkeypatch, explained):
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    assert "img" not in Page(explained._repr_html_()).tags
    assert explained._repr_png_() is None


@pytest.mark.parametrize(
    ("shape", "axes", "more", "kind"),
    [
        ((2, 8, 9, 1), ("row", "height", "width", "channel"), {}, "photo"),
        ((2, 3, 8, 9), (), {}, "photo"),
        ((2, 3, 8, 9, 5), (), {}, "photo"),
        ((2, 50, 3), ("row", "step", "channel"), {}, "series"),
        ((2, 50, 3), (), {}, "series"),
        ((2, 6), (), {}, "table"),
        ((2, 600), (), {}, "series"),
        ((2, 600), (), {"features": {"x": tuple(map(str, range(600)))}}, "table"),
        ((2, 6), (), {"tokens": (("a",) * 6, ("b",) * 5)}, "tokens"),
        ((2, 6, 4), ("row", "token", "embedding"), {}, "tokens"),
    ],
)
def test_the_kind_of_picture(shape, axes, more, kind):
    array = RNG.normal(size=shape).astype(np.float32)
    found = Explanation(
        {"x": array}, "M", np.zeros(2, int), np.zeros(2, np.float32), ("", ""), axes={"x": axes}, **more
    )
    assert kind_of(found, "x") == kind
    assert found.plot().axes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "pie"}, "kind='pie'"),
        ({"of": "z"}, "explained values are"),
        ({"row": 5}, "rows 0 to 2"),
        ({"colour": "red"}, "no options"),
        ({"path": "x.gif"}, r"\.png"),
        ({"top": 0}, "top=0"),
    ],
)
def test_pictures_that_cannot_be_drawn(options, message, explained):
    with pytest.raises(ParameterError, match=message):
        explained.plot(**options)
