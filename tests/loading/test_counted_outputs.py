"""Outputs of as many numbers as a sample has detections, or positive values: at other points there are others."""

import numpy as np
import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument
from support.tiny_graphs import parse

import onnxattr
from onnxattr import GradientInput, IntegratedGradients, NoiseTunnel, Saliency, SmoothGrad
from onnxattr.errors import ModelError, TargetError

pytestmark = pytest.mark.filterwarnings(
    "ignore:The samples of a batch are not computed independently:UserWarning"
)

#: The squares of the positive values.
POSITIVE = parse(
    """g (float[N,4] x) => (float[K] y) <int64[1] all = {-1}, float zero = {0}> {
    p = Greater(x, zero) picked = Reshape(p, all) flat = Reshape(x, all)
    v = Compress<axis=0>(flat, picked) y = Mul(v, v) }"""
)
#: The scores of the boxes x1, y1, x2, y2 that are kept.
BOXES = parse(
    """g (float[N,5] x) => (float[K] y)
    <int64[1] first = {0}, int64[1] four = {4}, int64[1] five = {5}, int64[1] one = {1}, int64[1] most = {9},
     float[1] overlap = {0.5}, float[1] least = {0.2}> {
    b = Slice(x, first, four, one) boxes = Unsqueeze(b, first) s = Slice(x, four, five, one)
    t = Transpose<perm=[1, 0]>(s) scores = Unsqueeze(t, first)
    kept = NonMaxSuppression(boxes, scores, most, overlap, least) v = GatherND(scores, kept) y = Mul(v, v) }"""
)
GIVEN = {
    "Compress": (
        POSITIVE,
        np.array([[0.5, -1.0, 2.0, -0.25], [1.5, -0.5, -2.0, -1.0]], np.float32),
        [0.25, 4, 2.25],
    ),
    "NonMaxSuppression": (
        BOXES,
        np.array([[0, 0, 1, 1, 0.75], [4, 4, 6, 6, 0.5], [8, 8, 9, 9, 0.125]], np.float32),
        [0.5625, 0.25],
    ),
}


@pytest.mark.parametrize("operator", GIVEN)
def test_one_point_is_explained(operator):
    model, x, expected = GIVEN[operator]
    method = GradientInput(model, reducer=None)
    np.testing.assert_allclose(method.predict(x), expected)
    weights = np.arange(1, len(expected) + 1, dtype=np.float32)
    maps = method.explain(x, weights)
    np.testing.assert_allclose(maps[maps != 0], 2 * weights * expected, rtol=1e-6)


@pytest.mark.parametrize("operator", GIVEN)
@pytest.mark.parametrize(
    "method",
    [
        lambda model: IntegratedGradients(model, reducer=None),
        lambda model: SmoothGrad(model, noise=3.0, seed=0),
        lambda model: NoiseTunnel(GradientInput(model), noise=3.0, seed=0),
    ],
    ids=["path", "noise", "tunnel"],
)
def test_other_numbers_at_other_points_are_told(operator, method):
    model, x, expected = GIVEN[operator]
    with pytest.raises(
        TargetError, match=f"{operator} node '.+' decides how large the output 'y' is.*output_layer="
    ):
        method(model).explain(x, np.ones(len(expected), np.float32))


@pytest.mark.parametrize("method", [IntegratedGradients, SmoothGrad])
@pytest.mark.parametrize("operator", GIVEN)
def test_a_file_tells_them_too(operator, method, tmp_path):
    model, x, expected = GIVEN[operator]
    made, path = method(model, **{"noise": 3.0} if method is SmoothGrad else {}), tmp_path / "e.onnx"
    node = f"{operator} node '.+' decides how large the output"
    with pytest.raises(ModelError, match=f"not written.* {node} 'y' is.*check=False"):
        made.export(path)
    made.export(path, check=False)
    weights = np.ones(len(expected), np.float32)
    with pytest.raises(TargetError, match=f"{node} 'prediction' is.*output_layer="):
        onnxattr.load(path, seed=0).explain(x, weights)
    # Any runtime says which check failed.
    session = onnxruntime.InferenceSession(path)
    seed = {"seed": np.array(0)} if method is SmoothGrad else {}
    with pytest.raises(Fail, match="onnxattr/targets_fit"):
        session.run(None, {"x": x, "target": weights} | seed)


@pytest.mark.parametrize("method", [IntegratedGradients, SmoothGrad])
def test_the_weight_of_one_detection_is_not_that_of_all(method):
    x = np.array([[0, 0, 1, 1, 0.75], [4, 4, 6, 6, 0.125]], np.float32)
    with pytest.raises(TargetError, match="decides how large the output 'y' is"):
        method(BOXES).explain(x, np.ones(1, np.float32))


def test_rows_that_happen_to_give_one_number_each_are_mixed():
    x = np.array([[-0.5, 0.8, -0.3, -0.2]], np.float32)
    method = GradientInput(POSITIVE, reducer=None)
    np.testing.assert_allclose(method.explain(x, np.ones(1, np.float32)), [[0, 2 * 0.8**2, 0, 0]], rtol=1e-6)
    assert method.prepared.rows.kind == "mixed"


#: Outputs whose sizes an input or its numbers decide.
OF_ANY_SIZE = {
    "as long as the input": "g (float[N,T,2] x) => (float[N,T,2] y) { e = Mul(x, x) y = Identity(e) }",
    "shorter": """g (float[N,T,2] x) => (float[N,U,2] y) <int64[1] one = {1}, int64[1] many = {99}> {
        e = Mul(x, x) y = Slice(e, one, many, one) }""",
    "shorter by a computed end": """g (float[N,T,2] x) => (float[N,U,2] y) <int64[1] zero = {0}, int64[1] one = {1}> {
        e = Mul(x, x) s = Shape(x) t = Gather(s, one) end = Sub(t, one) y = Slice(e, zero, end, one) }""",
    "turned": "g (float[N,T,V] x) => (float[N,V,T] y) { e = Mul(x, x) y = Transpose<perm = [0, 2, 1]>(e) }",
}


@pytest.mark.parametrize(
    "operator", [None, "semantic segmentation", lambda f, x, y: (f(x) * y).sum(axis=(1, 2))]
)
@pytest.mark.parametrize("case", OF_ANY_SIZE)
def test_targets_of_another_size_are_not_broadcast(case, operator, tmp_path):
    method = Saliency(parse(OF_ANY_SIZE[case]), operator=operator, reducer=None)
    x = np.arange(1, 13, dtype=np.float32).reshape(2, 3, 2)
    output = method.predict(x)
    method.export(tmp_path / "e.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "e.onnx")
    count = output[0].size if operator == "semantic segmentation" else 1
    maps = method.explain(x, np.ones_like(output))
    np.testing.assert_allclose(maps.sum(), 2 * np.sqrt(output).sum() / count, rtol=1e-6)
    for sizes in [(1, 2), (2, 1), (3, 2), (2, 3), (2, 2), (4, 2), (1, 1)]:
        targets = np.ones((2, *sizes), np.float32)
        if targets.shape == output.shape:
            continue
        with pytest.raises(TargetError, match="not broadcast"):
            method.explain(x, targets)
        with pytest.raises((Fail, InvalidArgument), match=r"onnxattr/targets_fit|invalid dimensions"):
            session.run(None, {"x": x, "target": targets})


#: Of two inputs, both with a row for each sample; of one.
WITH_ROWS = {
    "one": "g (float[N,2] x) => (float[N,2] y) { y = Mul(x, x) }",
    "two": "g (float[N,2] x, float[M,2] w) => (float[N,2] y) { s = Mul(x, x) y = Mul(s, w) }",
}


@pytest.mark.parametrize("rendering", ["batch", "loop"])
@pytest.mark.parametrize("target", ["weights", "labels"])
@pytest.mark.parametrize("method", [GradientInput, IntegratedGradients, SmoothGrad, NoiseTunnel])
@pytest.mark.parametrize("case", WITH_ROWS)
def test_files_take_as_many_targets_as_samples(case, method, target, rendering, tmp_path):
    """Others were broadcast, and those that were too many left out; so were rows of a second input."""
    common = {"wrt": "x", "reducer": None}
    inner = method(parse(WITH_ROWS[case]), **common) if method is not NoiseTunnel else None
    inner = inner or NoiseTunnel(GradientInput(parse(WITH_ROWS[case]), **common), nb_samples=2, noise=1e-6)
    inner.export(
        tmp_path / "e.onnx", target=target, rendering="auto" if method is GradientInput else rendering
    )
    session = onnxruntime.InferenceSession(tmp_path / "e.onnx")

    def maps(samples, targets, others):
        feeds = {
            "x": np.arange(1, 1 + 2 * samples, dtype=np.float32).reshape(samples, 2),
            "seed": np.array(0),
        }
        feeds["target"] = (
            np.ones((targets, 2), np.float32) if target == "weights" else np.ones(targets, np.int64)
        )
        feeds["w"] = np.ones((others, 2), np.float32)
        return session.run(["attribution"], {i.name: feeds[i.name] for i in session.get_inputs()})[0]

    x = np.arange(1, 5).reshape(2, 2) * (np.ones(2) if target == "weights" else np.array([0, 1]))
    expected = {IntegratedGradients: x**2, SmoothGrad: 2 * x}.get(method, 2 * x**2)
    np.testing.assert_allclose(maps(2, 2, 2), expected, rtol=0.2 if method is SmoothGrad else 1e-4)
    wrong = [(2, 1, 2), (2, 3, 2), (1, 2, 1), (4, 2, 4)]
    if case == "two":
        # The model itself broadcasts one row of an input; at several points the rows of one input count.
        wrong += [(1, 1, 2)] if method is GradientInput else [(1, 1, 2), (1, 2, 2), (2, 2, 3)]
    for rows in wrong:
        with pytest.raises((Fail, InvalidArgument), match=r"onnxattr/rows_fit|running Mul node"):
            maps(*rows)


#: A detector of one image: (k, 2) boxes and their (k,) scores, those of the image's columns that are above 1.
DETECTOR = parse(
    """g (float[1,2,4] x) => (float[K,2] boxes, float[K] scores)
    <int64[1] all = {-1}, float one = {1}, int64[1] axis = {0}, int64[2] shape = {2, 4}, int64[1] last = {1}> {
    m = Reshape(x, shape) t = Transpose<perm=[1, 0]>(m) squared = Mul(t, t) sums = ReduceSum<keepdims=0>(squared, last)
    above = Greater(sums, one) boxes = Compress<axis=0>(t, above) scores = Compress<axis=0>(sums, above) }"""
)


@pytest.mark.parametrize("method", [GradientInput, IntegratedGradients])
def test_one_detection_of_one_image(method, tmp_path, capfd):
    """The score of one is explained, in the file too, which says that there may be any number of boxes."""
    x = np.array([[[1, 0.5, 2, 3], [1, 0.25, 0, 2]]], np.float32)
    start = {} if method is GradientInput else {"baseline_value": 2 * x, "steps": 3}
    made = method(DETECTOR, operator=lambda f, x, y: f(x)["scores"][:1], reducer=None, **start)
    expected = np.zeros_like(x)
    expected[..., 0] = (2 if method is GradientInput else -3) * x[..., 0] ** 2
    np.testing.assert_allclose(made.explain(x), expected, rtol=1e-5)
    made.export(tmp_path / "e.onnx")
    np.testing.assert_allclose(onnxattr.load(tmp_path / "e.onnx").explain(x), expected, rtol=1e-5)
    session = onnxruntime.InferenceSession(tmp_path / "e.onnx")
    given = session.run(["prediction", "prediction_scores", "score"], {"x": x, "target": np.array([-1])})
    np.testing.assert_allclose(given[1], [2, 4, 13])
    assert [len(array) for array in given] == [3, 3, 1]
    assert [output.shape[0] for output in session.get_outputs() if "prediction" in output.name] != [1, 1]
    assert "Expected shape from model" not in capfd.readouterr().err
