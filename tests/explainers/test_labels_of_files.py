"""Labels that are no class, boxes that are none and several seeds fail in files, and are taken for nothing else."""

import numpy as np
import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument
from support.tiny_graphs import parse

from onnxattr import GradientInput, IntegratedGradients, NoiseTunnel, SmoothGrad, load
from onnxattr.errors import TargetError

#: Three classes, or one sigmoid unit, of two features; any number of samples, or two.
MODELS = {
    "classes": "g (float[N,2] x) => (float[N,3] y) <float[2,3] w = {1, 2, 3, 4, 5, 6}> { y = MatMul(x, w) }",
    "two samples": "g (float[2,2] x) => (float[2,3] y) <float[2,3] w = {1, 2, 3, 4, 5, 6}> { y = MatMul(x, w) }",
    "unit": "g (float[N,2] x) => (float[N,1] y) <float[2,1] w = {1, 2}> { s = MatMul(x, w) y = Sigmoid(s) }",
}
X = np.array([[1, 2], [3, 4]], np.float32)


def session_of(method, path, **options):
    method.export(path, **options)
    return onnxruntime.InferenceSession(path)


def maps(session, labels, seed=0):
    feeds = {"x": X, "target": np.array(labels, np.int64), "seed": np.array(seed, np.int64)}
    return session.run(["attribution"], {value.name: feeds[value.name] for value in session.get_inputs()})[0]


@pytest.mark.parametrize("rendering", ["batch", "loop"])
@pytest.mark.parametrize("method", [GradientInput, IntegratedGradients, SmoothGrad, NoiseTunnel])
@pytest.mark.parametrize("case", MODELS)
def test_a_label_is_a_class_or_the_predicted_one(case, method, rendering, tmp_path):
    common = {"wrt": "x", "reducer": None}
    if method is NoiseTunnel:
        explained = NoiseTunnel(GradientInput(parse(MODELS[case]), **common), nb_samples=2, noise=1e-6)
    else:
        explained = method(parse(MODELS[case]), **common)
    session = session_of(
        explained, tmp_path / "e.onnx", rendering="auto" if method is GradientInput else rendering
    )
    classes = 2 if case == "unit" else 3
    last = maps(session, [classes - 1] * 2)
    assert np.abs(last).min() > 0
    np.testing.assert_allclose(maps(session, [-1, -1]), last, rtol=1e-5)
    for wrong in ([0, classes], [-2, 0], [99, 1], [1, 2**40], [-(2**63), 0]):
        with pytest.raises((Fail, InvalidArgument), match="onnxattr/labels_fit"):
            maps(session, wrong)


BOXES = np.array([[[0, 0, 2, 2, 0.5, 1, 0], [1, 1, 3, 2, 0.7, 0, 1]]], np.float32)


@pytest.mark.parametrize("column", range(7))
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", [GradientInput, IntegratedGradients])
def test_reference_boxes_are_boxes(method, number, column, tmp_path):
    """A corner that is no number gave the map of the other boxes."""
    explained = method(
        parse("m (float[N,2,7] x) => (float[N,2,7] y) { y = Identity(x) }"), operator="object detection"
    )
    session, other = session_of(explained, tmp_path / "e.onnx"), BOXES.copy()
    other[0, 1, column] = number
    (good,) = session.run(["attribution"], {"x": BOXES, "target": BOXES})
    np.testing.assert_allclose(good, explained.explain(BOXES, BOXES), rtol=1e-5)
    for wrong in (other, BOXES[..., [2, 3, 0, 1, 4, 5, 6]]):
        with pytest.raises((Fail, InvalidArgument), match="onnxattr/boxes_fit"):
            session.run(["attribution"], {"x": BOXES, "target": wrong})


@pytest.mark.parametrize("rendering", ["batch", "loop"])
def test_a_seed_is_one_number(rendering, tmp_path):
    """An array of a seed for each sample was broadcast, and gave other maps than either seed."""
    method = SmoothGrad(parse(MODELS["unit"]), reducer=None)
    session = session_of(method, tmp_path / "e.onnx", rendering=rendering)
    np.testing.assert_array_equal(maps(session, [1, 1], seed=[7]), maps(session, [1, 1], seed=7))
    for seeds in ([1, 2], [[1], [2]], []):
        with pytest.raises((Fail, InvalidArgument), match=r"onnxattr/seed_fit|Invalid rank"):
            maps(session, [1, 1], seed=seeds)


def test_an_opened_file_says_so(tmp_path):
    """Of an output of any number of classes, which labels cannot be compared with before a run."""
    text = "g (float[N,C] x) => (float[N,C] y) { y = Mul(x, x) }"
    GradientInput(parse(text), reducer=None).export(tmp_path / "e.onnx")
    opened = load(tmp_path / "e.onnx")
    np.testing.assert_allclose(opened.explain(X, [1, 0]), 2 * X**2 * [[0, 1], [1, 0]])
    with pytest.raises(TargetError, match="from 0 to the last class"):
        opened.explain(X, [1, 2])
