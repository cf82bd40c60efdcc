"""Masks of two sides at their bounds: the same for every float, in ONNX Runtime's blocked layout and outside it."""

import numpy as np
import onnxruntime
import pytest
from support.small_models import build, node

from onnxattr.autodiff.rewrites import REWRITES
from onnxattr.compile.gradient import vjp

CHANNELS, SIDE = 16, 64
RNG = np.random.default_rng(0)
DENORMAL = np.arange(8000, dtype=np.int32).view(np.float32)
INFINITE = np.array([0.0, -0.0, -1.0, 1e38, -1e38, np.inf, -np.inf], np.float32)
STEPS = [name for name in REWRITES if name != "mask_by_conv"]


def around(bound: float, count: int = 4000) -> np.ndarray:
    """The floats next to a positive bound."""
    bits = int(np.float32(bound).view(np.int32))
    return np.arange(bits - count, bits + count, dtype=np.int32).view(np.float32)


def images(high: float, *more: float) -> np.ndarray:
    """Numbers at the bounds and between them, in one of the channels."""
    parts = [around(high), DENORMAL, -DENORMAL, around(2.0**-126), around(2.0**-128, 1000), INFINITE, more]
    parts += [RNG.uniform(0, high, 4000), np.exp(RNG.uniform(-103, 3, 4000))]
    line = np.concatenate([np.asarray(part, np.float32) for part in parts])
    line = np.concatenate([line, np.zeros(-line.size % SIDE**2, np.float32)])
    result = np.zeros((line.size // SIDE**2, CHANNELS, SIDE, SIDE), np.float32)
    result[:, 3] = line.reshape(-1, SIDE, SIDE)
    return result


def gradient(activation, x, rewrites, optimised=True):
    """The gradient of an activation between depthwise convolutions that change nothing; 1.375 is its cotangent."""
    shape, same = ["N", CHANNELS, SIDE, SIDE], {"group": CHANNELS, "kernel_shape": [1, 1]}
    model = build(
        [node("Conv", ["x", "w"], ["c"], **same), activation, node("Conv", ["r", "w"], ["y"], **same)],
        {"x": shape},
        {"y": shape},
        {"w": np.ones((CHANNELS, 1, 1, 1), np.float32), "low": np.float32(0), "high": np.float32(6)},
    )
    graph = vjp(model, rewrites=rewrites, verify=False)
    options, levels = onnxruntime.SessionOptions(), onnxruntime.GraphOptimizationLevel
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, ["CPUExecutionProvider"])
    (found,) = session.run(["x_gradient"], {"x": x, "y_cotangent": np.full_like(x, 1.375)})
    return found, [n.op_type for n in graph.graph.node]


ACTIVATIONS = [
    (node("Clip", ["c", "low", "high"], ["r"]), 6.0),
    (node("HardSigmoid", ["c"], ["r"], alpha=1.0, beta=0.0), 1.0),
]


@pytest.mark.parametrize("optimised", [True, False], ids=["blocked", "plain"])
@pytest.mark.parametrize(("activation", "high"), ACTIVATIONS, ids=["ReLU6", "HardSigmoid"])
def test_every_float_is_masked_as_the_comparison_masks_it(activation, high, optimised):
    x = images(high)
    found, operators = gradient(activation, x, None, optimised)
    assert operators.count("Conv") == 5
    assert "Where" not in operators
    np.testing.assert_array_equal(found.view(np.int32), gradient(activation, x, [])[0].view(np.int32))
    np.testing.assert_array_equal(found, np.where((x > 0) & (x < high), np.float32(1.375), 0))


@pytest.mark.parametrize(("activation", "high"), ACTIVATIONS, ids=["ReLU6", "HardSigmoid"])
def test_normal_numbers_and_nan_are_masked_as_by_two_steps(activation, high):
    """Only denormal numbers differ: there the steps of both sides are below 1."""
    x = images(high, np.nan)
    x[np.abs(x) < 2.0**-126] = 0
    np.testing.assert_array_equal(*(gradient(activation, x, rewrites)[0] for rewrites in (None, STEPS)))
