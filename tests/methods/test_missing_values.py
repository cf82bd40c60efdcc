"""NaN that the model replaces and infinity in what is not explained are taken; else their places are named."""

import numpy as np
import pytest
from support.explained import make
from support.methods import ON_ANY_MODEL
from support.small_models import build, node

import onnxattr
from onnxattr.attributions import GradientInput, IntegratedGradients
from onnxattr.errors import NonFiniteWarning, ShapeError

NAN, INF = np.nan, np.inf
MEANS = np.array([[0.5, -1.0, 2.0]], np.float32)
W = np.array([[1.0, -2.0], [0.5, 1.0], [3.0, 0.25]], np.float32)
SHAPES = {"x": ["N", 3]}, {"y": ["N", 2]}
SQUARED = [node("Mul", ["z", "z"], ["s"]), node("MatMul", ["s", "w"], ["y"], name="out")]


def replacing(*nodes, **weights):
    """A model of x that ends in y = z^2 w, with nodes that make z."""
    return build([*nodes, *SQUARED], *SHAPES, {"w": W, "means": MEANS, **weights})


ISNAN = node("IsNaN", ["x"], ["gone"])
REPLACING = {
    "imputer": (ISNAN, node("Where", ["gone", "means", "x"], ["z"])),
    "the other way round": (ISNAN, node("Not", ["gone"], ["there"]), node("Where", ["there", "x", "means"], ["z"])),
    "by comparison": (node("Equal", ["x", "x"], ["there"]), node("Where", ["there", "x", "means"], ["z"])),
    "behind a scaler": (
        node("Sub", ["x", "means"], ["c"]), node("Mul", ["c", "two"], ["m"]), node("IsNaN", ["m"], ["gone"]),
        node("Where", ["gone", "zero", "m"], ["z"]),
    ),
    "columns apart": (
        node("Gather", ["x", "right"], ["r"], axis=1), node("Gather", ["x", "left"], ["l"], axis=1),
        node("IsNaN", ["r"], ["gone"]), node("Where", ["gone", "zero", "r"], ["f"]),
        node("Concat", ["l", "f"], ["z"], axis=1),
    ),
}  # fmt: skip
CONSTANTS = {
    "two": np.float32(2), "zero": np.float32(0), "left": np.array([0, 1]), "right": np.array([2]),
}  # fmt: skip
X = np.array([[1, 2, NAN], [0.5, -1, 3], [1, 1, NAN]], np.float32)
FILLED = {
    "imputer": 2.0,
    "the other way round": 2.0,
    "by comparison": 2.0,
    "behind a scaler": 2.0,
    "columns apart": 0.0,
}


@pytest.mark.parametrize(
    "method", ["Saliency", "GradientInput", "IntegratedGradients", "SmoothGrad", "VarGrad"]
)
@pytest.mark.parametrize("case", REPLACING)
def test_a_missing_value_has_the_attribution_0_and_the_others_that_of_the_filled_row(case, method, tmp_path):
    explainer = make(method, replacing(*REPLACING[case], **CONSTANTS), reducer=None)
    maps = explainer.explain(X, [0, 1, 0])
    filled = explainer.explain(np.where(np.isnan(X), np.float32(FILLED[case]), X), [0, 1, 0])
    expected = np.where(np.isnan(X), 0, filled)
    np.testing.assert_allclose(maps, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    explainer.export(tmp_path / "e.onnx")
    np.testing.assert_allclose(
        onnxattr.load(tmp_path / "e.onnx").explain(X, [0, 1, 0]), expected, rtol=1e-5, atol=1e-5
    )


def test_integrated_gradients_add_up_to_the_difference_from_the_baseline_with_the_same_gaps():
    method = IntegratedGradients(replacing(*REPLACING["imputer"]), steps=200, reducer=None)
    gaps = np.where(np.isnan(X), X, 0)
    f = lambda x: method.predict(x)[:, 1]  # noqa: E731
    np.testing.assert_allclose(method.explain(X, [1, 1, 1]).sum(1), f(X) - f(gaps), rtol=1e-3)


PLAIN = replacing(node("Tanh", ["x"], ["z"], name="tanh"))
APART = replacing(*REPLACING["columns apart"], **CONSTANTS)
RELU = replacing(
    node("Greater", ["x", "zero"], ["up"], name="up"), node("Where", ["up", "x", "zero"], ["z"]), **CONSTANTS
)
REFUSED = {
    "nothing replaces it": (PLAIN, X, ["2 NaN", "[0, 2], [2, 2]", "Tanh node 'tanh'", "imputer"]),
    "another column": (APART, [[NAN, 1, NAN]], ["1 NaN", "[0, 0]", "Mul node"]),
    "a comparison takes it": (RELU, X, ["[0, 2]", "Greater node 'up'"]),
    "many": (PLAIN, np.full((4, 3), NAN), ["12 NaN", "[1, 1], ..."]),
    "infinity": (replacing(*REPLACING["imputer"]), [[1, INF, 1]], ["[0, 1]", "explained", "wrt="]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_places(case, tmp_path):
    model, x, fragments = REFUSED[case]
    method = GradientInput(model)
    method.export(tmp_path / "e.onnx")
    for call in (method.explain, method.predict, onnxattr.load(tmp_path / "e.onnx").explain):
        with pytest.raises(ShapeError) as error:
            call(np.array(x, np.float32))
        missing = [part for part in fragments if part not in str(error.value)]
        assert [part for part in missing if "node" not in part or call == method.explain] == [], error.value


BIAS = build(
    [node("Add", ["x", "mask"], ["s"]), node("Softmax", ["s"], ["p"], axis=1), node("Mul", ["p", "x"], ["y"])],
    {"x": ["N", 3], "mask": ["N", 3]}, {"y": ["N", 3]},
)  # fmt: skip
MASK = np.array([[0, 0, -INF], [0, -INF, 0], [0, 0, 0]], np.float32)
ROWS = np.array([[1, 2, 3], [0.5, 0, 1], [1, 1, 1]], np.float32)


@pytest.mark.parametrize("method", ON_ANY_MODEL)
@pytest.mark.filterwarnings("ignore:.*overrides ReLUs:UserWarning")
def test_an_infinite_mask_is_taken_where_it_is_not_explained(method, tmp_path):
    explainer = make(method, BIAS, wrt="x")
    maps = explainer.explain({"x": ROWS, "mask": MASK}, [0, 1, 2])
    finite = np.where(np.isinf(MASK), np.float32(-1e9), MASK)
    np.testing.assert_array_equal(maps, explainer.explain({"x": ROWS, "mask": finite}, [0, 1, 2]))
    explainer.export(tmp_path / "e.onnx")
    found = onnxattr.load(tmp_path / "e.onnx").explain({"x": ROWS, "mask": MASK}, [0, 1, 2])
    np.testing.assert_allclose(found, maps, atol=1e-5)
    with pytest.raises(ShapeError, match=r"'mask' holds 2 NaN or infinite.*\[0, 2\], \[1, 1\].*wrt="):
        make(method, BIAS).explain({"x": ROWS, "mask": MASK}, [0, 1, 2])
    with pytest.raises(ShapeError, match=r"'mask' holds 1 NaN"):
        explainer.explain({"x": ROWS, "mask": np.where(MASK < 0, NAN, 0)[:1]} | {"x": ROWS[:1]}, [0])


def test_an_infinite_input_before_an_explained_inner_value():
    model = build(
        [node("Clip", ["x", "", "one"], ["c"]), node("Mul", ["c", "c"], ["y"])], {"x": ["N", 2]}, {"y": ["N", 2]},
        {"one": np.float32(1)},
    )  # fmt: skip
    maps = GradientInput(model, wrt="c").explain(np.array([[INF, 0.5]], np.float32), [0])
    np.testing.assert_array_equal(maps, [[2, 0]])


def test_beyond_the_range_of_half_precision():
    model = build([node("Tanh", ["x"], ["y"])], {"x": (["N", 2], 10)}, {"y": (["N", 2], 10)})
    with pytest.raises(
        ShapeError, match=r"1 NaN or infinite values in the model's float16.*\[0, 1\].*1000000.*float32"
    ):
        GradientInput(model).explain(np.array([[1, 1e6]]), [0])


@pytest.mark.filterwarnings("ignore:The model ends in:UserWarning")
@pytest.mark.parametrize("scaled_first", [False, True])
def test_pipelines_of_scikit_learn(scaled_first):
    pytest.importorskip("skl2onnx")
    from onnxattr.converters.sklearn import to_onnx
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    classes = (data @ [1, -2, 0.5] > 0).astype(int)
    data[::7, 1] = NAN
    steps = [StandardScaler(), SimpleImputer()] if scaled_first else [SimpleImputer(), StandardScaler()]
    pipeline = make_pipeline(*steps, LogisticRegression()).fit(data, classes)
    x, step = data[:8], 1e-3
    moved = [step * unit for unit in np.eye(3)]
    differences = np.stack(
        [(pipeline.predict_proba(x + m) - pipeline.predict_proba(x - m))[:, 1] / (2 * step) for m in moved], 1
    )
    method = GradientInput(to_onnx(pipeline, data))
    maps = method.explain(x, np.ones(8, int))
    np.testing.assert_allclose(maps, np.where(np.isnan(x), 0, x * differences), atol=1e-4)


def test_nothing_is_said_of_missing_values_that_are_replaced(recwarn):
    GradientInput(replacing(*REPLACING["imputer"])).explain(X)
    assert [w for w in recwarn if w.category is NonFiniteWarning] == []
