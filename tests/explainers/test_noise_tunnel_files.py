"""What passes through a NoiseTunnel: gaps, free sizes, scores, cuts, weights, half precision; what its file says."""

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from support.explained import close
from support.noisy_copies import DRAWS, LABELS, NOISE, SEED, Gradient, everywhere, explicit, tunnel
from support.small_models import build, cnn_nchw, mlp, node, random, rows

import onnxattr
from onnxattr import attributions
from onnxattr.compile.noise import draw_noise
from onnxattr.errors import ParameterError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_convergence_delta(tmp_path):
    """The mean of the draws' deltas; around a method without a path there is none."""
    case = mlp()
    inner = attributions.IntegratedGradients(case.model, steps=4, batch_size=3)
    made = tunnel(inner)
    targets = np.where(LABELS < 0, inner.predict(case.given).argmax(axis=1), LABELS)
    noisy = case.given + np.float32(NOISE) * draw_noise(SEED, case.given.shape, DRAWS)
    expected = np.mean([inner.convergence_delta(x, targets) for x in noisy], axis=0)
    np.testing.assert_allclose(made.convergence_delta(case.given, LABELS), expected, atol=2e-6)
    for rendering in ("batch", "loop"):
        made.export(tmp_path / "tunnel.onnx", rendering)
        loaded = onnxattr.load(tmp_path / "tunnel.onnx", seed=SEED)
        np.testing.assert_allclose(loaded.convergence_delta(case.given, LABELS), expected, atol=2e-6)
    for explanation in (made(case.given, LABELS), loaded(case.given, LABELS)):
        np.testing.assert_allclose(explanation.delta, expected, atol=2e-6)
        assert explanation.relative_gap is None
        assert explanation.baseline_scores is None
    square = tunnel(inner, "square")
    np.testing.assert_array_equal(
        square.convergence_delta(case.given, LABELS), inner.convergence_delta(case.given, LABELS)
    )
    with pytest.raises(ParameterError, match="Saliency has no path"):
        tunnel(attributions.Saliency(case.model)).convergence_delta(case.given, LABELS)


def test_the_file_says_what_it_is(tmp_path):
    made = tunnel(
        attributions.GradCAM(cnn_nchw().model, upsampling="bilinear"), "variance", noise_kind="relative"
    )
    made.export(tmp_path / "tunnel.onnx")
    about = onnxattr.load(tmp_path / "tunnel.onnx").metadata
    assert about["method"] == "NoiseTunnel"
    inner = about["parameters"].pop("method")
    assert about["parameters"] == {
        "nb_samples": DRAWS, "noise": NOISE, "kind": "variance", "noise_kind": "relative", "seed": SEED,
    }  # fmt: skip
    assert inner["method"] == "GradCAM"
    assert inner["parameters"]["upsampling"] == "bilinear"
    assert list(about["explained"]) == ["c2"]
    assert made.explained == ("c2",)


def test_sizes_that_are_free(tmp_path):
    """A convolution on images of any size: the loop starts from zeros of a shape that the run tells."""
    nodes = [
        node("Conv", ["x", "k1"], ["c1"], pads=[1] * 4, strides=[2, 2]), node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "k2"], ["c2"], pads=[1] * 4), node("Tanh", ["c2"], ["t"]),
        node("GlobalAveragePool", ["t"], ["g"]), node("Flatten", ["g"], ["y"]),
    ]  # fmt: skip
    weights = {"k1": 2 * random(1, 4, 2, 3, 3), "k2": 2 * random(2, 3, 4, 3, 3)}
    model = build(nodes, {"x": ["N", 2, "H", "W"]}, {"y": ["N", 3]}, weights)
    for method, kind in (("GradCAM", "mean"), ("Saliency", "variance")):
        x = rows(4, 2, 7, 9)

        def make(batch_size, method=method, kind=kind):
            return tunnel(getattr(attributions, method)(model, batch_size=batch_size), kind)

        everywhere(make, x, explicit(make(None).method, x, kind), 2e-5, tmp_path)


def test_rows_that_are_one_sample(tmp_path):
    """Rows that are compared with their mean: one sample, the tunnel around it too."""
    nodes = [
        node("ReduceMean", ["x", "first"], ["m"]), node("Sub", ["x", "m"], ["d"]), node("Mul", ["d", "d"], ["s"]),
        node("MatMul", ["s", "w"], ["y"]),
    ]  # fmt: skip
    model = build(nodes, {"x": ["N", 4]}, {"y": ["N", 2]}, {"first": np.array([0]), "w": random(1, 4, 2)})
    x, weights = rows(3, 4), random(2, 3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = tunnel(attributions.IntegratedGradients(model, steps=3))
        assert made.one_sample
        noisy = [x + np.float32(NOISE) * e[0] for e in draw_noise(SEED, (1, 3, 4), DRAWS)]
        expected = [made.method.explain(copied, weights) for copied in noisy]
        close(made.explain(x, weights), np.mean(expected, axis=0), 2e-6)
        made.export(tmp_path / "tunnel.onnx")
        close(
            onnxattr.load(tmp_path / "tunnel.onnx", seed=SEED).explain(x, weights),
            np.mean(expected, axis=0),
            2e-6,
        )


def test_rows_that_are_compared_before_the_first_run():
    """Where it is open whether rows are apart, the tunnel follows what its method finds out."""
    nodes = [
        node("Reshape", ["x", "shape"], ["r"]), node("MatMul", ["r", "w"], ["m"]), node("Tanh", ["m"], ["y"]),
    ]  # fmt: skip
    shape = {"shape": np.array([-1, 4])}
    model = build(nodes, {"x": ["N", "M"]}, {"y": ["P", 2]}, shape | {"w": random(1, 4, 2)})
    x = rows(3, 4)
    method = Gradient(model)
    made = tunnel(method)
    expected = [
        method.explain(x + np.float32(NOISE) * e, [1, 0, 1]) for e in draw_noise(SEED, x.shape, DRAWS)
    ]
    close(made.explain(x, [1, 0, 1]), np.mean(expected, axis=0), 2e-6)


def test_scores_and_cuts_pass_through(tmp_path):
    case = mlp(head="Softmax")
    inner = Gradient(case.model, output_layer="logits", operator=lambda f, x, y: 2 * (f(x) * y).sum(axis=-1))
    expected = tunnel(Gradient(mlp().model)).explain(case.given, LABELS)
    close(tunnel(inner).explain(case.given, LABELS), 2 * expected, 2e-6)
    tunnel(inner).export(tmp_path / "tunnel.onnx")
    close(onnxattr.load(tmp_path / "tunnel.onnx", seed=SEED).explain(case.given, LABELS), 2 * expected, 2e-6)


def test_weights_are_in_the_file_once(tmp_path):
    """Around a path in a loop in a loop, too."""
    arrays = {"w1": random(1, 400, 300), "w2": random(2, 300, 3)}
    nodes = [
        node("MatMul", ["x", "w1"], ["h"]),
        node("Tanh", ["h"], ["t"]),
        node("MatMul", ["t", "w2"], ["y"]),
    ]
    model = build(nodes, {"x": ["N", 400]}, {"y": ["N", 3]}, arrays)
    made = tunnel(attributions.IntegratedGradients(model, steps=8, batch_size=3))
    made.export(tmp_path / "tunnel.onnx", "loop")
    file = onnx.load(tmp_path / "tunnel.onnx")
    assert file.ByteSize() < 1.02 * model.ByteSize() + 30_000
    kinds = [n.op_type for n in file.graph.node]
    assert kinds.count("Loop") == 1
    (loop,) = (n for n in file.graph.node if n.op_type == "Loop")
    assert [n.op_type for n in loop.attribute[0].g.node].count("Loop") == 1
    onnx.checker.check_model(file, full_check=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "tunnel.onnx"))
    assert {v.name: v.type for v in session.get_inputs()} == {
        "x": "tensor(float)", "target": "tensor(int64)", "seed": "tensor(int64)",
    }  # fmt: skip


def test_half_precision():
    case = mlp(np.float16)
    expected = tunnel(attributions.IntegratedGradients(mlp().model, steps=4)).explain(mlp().given, LABELS)
    close(
        tunnel(attributions.IntegratedGradients(case.model, steps=4)).explain(case.given, LABELS),
        expected,
        2e-2,
    )


def test_bytes_before_a_layer_get_no_noise():
    """No float input leads to the layer, so that the layer's own value gets the noise."""
    nodes = [
        node("Cast", ["x"], ["real"], to=TensorProto.FLOAT), node("Conv", ["real", "k"], ["c"]),
        node("Tanh", ["c"], ["t"]), node("GlobalAveragePool", ["t"], ["g"]), node("Flatten", ["g"], ["y"]),
    ]  # fmt: skip
    model = build(
        nodes, {"x": (["N", 1, 5, 5], TensorProto.UINT8)}, {"y": ["N", 3]}, {"k": random(1, 3, 1, 3, 3)}
    )
    x = np.random.default_rng(0).integers(0, 4, (3, 1, 5, 5)).astype(np.uint8)
    maps = tunnel(attributions.GradCAM(model)).explain(x, LABELS)
    assert maps.shape == (3, 1, 5, 5)
    assert not np.allclose(maps, attributions.GradCAM(model).explain(x, LABELS))
