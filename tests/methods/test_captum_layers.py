"""Layer methods against numbers that Captum gave, see golden/captum_layers.py."""

import json

import numpy as np
import pytest
from golden import captum_layers
from onnx import TensorProto, helper
from support.explained import close
from support.layer_maps import everywhere, sums
from support.small_models import build, node

from onnxattr import GradientInput, IntegratedGradients, Saliency
from onnxattr.errors import ParameterError


def captum_images(batch="N", kind=TensorProto.FLOAT):
    nodes = [
        node("Conv", ["x", "k1"], ["c1"]), node("Tanh", ["c1"], ["first"]), node("Conv", ["first", "k2"], ["c2"]),
        node("Tanh", ["c2"], ["second"]), node("ReduceMean", ["second", "space"], ["mean"], keepdims=0),
        node("MatMul", ["mean", "w"], ["logits"]),
    ]  # fmt: skip
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weights = {name: array.astype(dtype) for name, array in captum_layers.IMAGES.items()}
    weights["space"] = np.array([2, 3])
    return build(nodes, {"x": ([batch, 2, 5, 5], kind)}, {"logits": ([batch, 3], kind)}, weights)


def captum_text():
    nodes = [
        node("Gather", ["table", "words"], ["embedded"]), node("Tanh", ["embedded"], ["squashed"]),
        node("ReduceMean", ["squashed", "time"], ["mean"], keepdims=0), node("MatMul", ["mean", "w"], ["logits"]),
    ]  # fmt: skip
    weights = captum_layers.WORDS | {"time": np.array([1])}
    return build(nodes, {"words": (["N", "T"], TensorProto.INT64)}, {"logits": ["N", 3]}, weights)


GOLDEN = {
    name: np.array(numbers, np.float32)
    for name, numbers in json.loads(captum_layers.FILE.read_text()).items()
    if name not in ("captum", "torch")
}
X, TWO_LABELS = captum_layers.X, captum_layers.LABELS
ON_PATH = {"reducer": None, "quadrature": "gauss_legendre", "steps": captum_layers.STEPS, "batch_size": 5}
AT_LAYER = {"wrt": "first", "baseline_value": {"x": captum_layers.X_BASELINE}}
AT_WORDS = {"wrt": "embedded", "baseline_value": {"words": captum_layers.PADDING}}
CAPTUM = [
    ("gradient x activation", captum_images, GradientInput, {"wrt": "first"}, X, TWO_LABELS),
    ("neuron", captum_images, Saliency, {"output_layer": "first", "neuron": captum_layers.UNIT}, X, None),
    ("integrated gradients", captum_images, IntegratedGradients, ON_PATH | AT_LAYER, X, TWO_LABELS),
    ("embedding", captum_text, IntegratedGradients, ON_PATH | AT_WORDS, captum_layers.TOKENS, TWO_LABELS),
]


@pytest.mark.parametrize(
    ("name", "make", "method", "options", "x", "labels"), CAPTUM, ids=[row[0] for row in CAPTUM]
)
def test_captum_agrees(name, make, method, options, x, labels, tmp_path):
    expected = np.abs(GOLDEN[name]) if method is Saliency else GOLDEN[name]
    made = method(make(), **{"reducer": None} | options)
    for found in everywhere(made, x, tmp_path, labels):
        close(found, expected, 2e-6)


def test_the_activation_of_a_layer_is_the_prediction_there():
    close(Saliency(captum_images(), output_layer="first").predict(X), GOLDEN["activation"], 2e-6)


def test_a_layer_that_starts_at_the_inputs_baseline_adds_up():
    method = IntegratedGradients(captum_images(), **ON_PATH | AT_LAYER | {"steps": 30})
    scores = method.predict(np.concatenate([X, captum_layers.X_BASELINE[None]]))
    total = method.explain(X, TWO_LABELS).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(total, scores[[0, 1], TWO_LABELS] - scores[2, TWO_LABELS], atol=1e-6)
    np.testing.assert_allclose(method.convergence_delta(X, TWO_LABELS), 0, atol=1e-6)


def test_a_baseline_of_inputs_may_be_a_row():
    """As files have it, one row of a batch."""
    start = AT_LAYER | {"baseline_value": {"x": captum_layers.X_BASELINE[None]}}
    method = IntegratedGradients(captum_images(), **ON_PATH | start)
    close(method.explain(X, TWO_LABELS), GOLDEN["integrated gradients"], 2e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": np.zeros((2, 2, 5, 5))}, r"has shape \(2, 2, 5, 5\).*one row"),
        ({"x": np.zeros((5, 4))}, r"baseline_value\['x'\] has shape \(5, 4\).*\(2, 5, 5\)"),
        ({"x": 0, "y": 1}, "names .*'first'"),
        ({"x": np.nan}, "finite"),
    ],
)
def test_baselines_of_inputs_that_do_not_fit(given, message):
    with pytest.raises(ParameterError, match=message):
        IntegratedGradients(captum_images(), wrt="first", baseline_value=given)


def test_baselines_of_words_are_whole():
    with pytest.raises(ParameterError, match=r"holds 0.5; the input takes int64"):
        IntegratedGradients(captum_text(), wrt="embedded", baseline_value={"words": 0.5})


@pytest.mark.parametrize(
    ("batch", "kind", "tolerance"), [(1, TensorProto.FLOAT, 2e-6), ("N", TensorProto.FLOAT16, 2e-2)]
)
def test_layers_of_a_fixed_batch_and_of_half_precision(batch, kind, tolerance):
    model, x = captum_images(batch, kind), X.astype(helper.tensor_dtype_to_np_dtype(kind))
    close(
        GradientInput(model, wrt="first").explain(x, TWO_LABELS), GOLDEN["gradient x activation"], tolerance
    )
    found = IntegratedGradients(model, **ON_PATH | AT_LAYER).explain(x, TWO_LABELS)
    close(found, GOLDEN["integrated gradients"], tolerance)
    mask = np.arange(9).reshape(3, 3) // 4
    grouped = IntegratedGradients(model, feature_mask=mask, **ON_PATH | AT_LAYER).explain(x, TWO_LABELS)
    close(grouped, sums(GOLDEN["integrated gradients"], mask[None]), tolerance)
    neuron = Saliency(model, output_layer="first", neuron=captum_layers.UNIT, reducer=None)
    close(neuron.explain(x), np.abs(GOLDEN["neuron"]), tolerance)
