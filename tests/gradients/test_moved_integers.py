"""Integers that operators move between QuantizeLinear and DequantizeLinear have the gradient of the real numbers."""

import numpy as np
import onnx
import pytest
from support.tiny_graphs import parse, run

from onnxattr import vjp

RNG = np.random.default_rng(0)
SCALE = 0.03
HELD = {
    "scale": np.float32(SCALE),
    "zero": np.int8(0),
    "few": np.array([0, 2, 2]),
    "pairs": np.array([[0, 1], [1, 3]]),
    "places": RNG.integers(0, 4, (2, 2, 6, 6)),
    "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1]),
    "scales": np.array([1, 1, 2, 2], np.float32),
    "one": np.array([1]),
    "two": np.array([2]),
    "chosen": np.array([True, False, True, True]),
    "patch": np.zeros((2, 6, 6), np.int8),
}
MOVES = {
    "Gather": "r = Gather<axis = 1>(q, few)",
    "GatherND": "r = GatherND(q, pairs)",
    "GatherElements": "r = GatherElements<axis = 1>(q, places)",
    "Pad": 'r = Pad<mode = "edge">(q, pads)',
    "Resize": 'r = Resize<mode = "nearest">(q, , scales)',
    "ReduceMax": "r = ReduceMax(q, one)",
    "ReduceMin": "r = ReduceMin<keepdims = 0>(q, one)",
    "Compress": "r = Compress<axis = 1>(q, chosen)",
    "ScatterND": "r = ScatterND(q, pairs, patch)",
    "Split": "r, other = Split<axis = 1, num_outputs = 2>(q)",
    "TopK": "r, other = TopK<axis = 1>(q, two)",
    "Abs": "r = Abs(q)",
}


@pytest.mark.parametrize("opset", [18, 21])
@pytest.mark.parametrize("name", MOVES)
def test_as_real_numbers(name, opset):
    x, maps = RNG.normal(size=(2, 4, 6, 6)).astype(np.float32), []
    ct = None
    for before, behind in (
        ("q = QuantizeLinear(x, scale, zero)", "y = DequantizeLinear(r, scale, zero)"),
        ("i = QuantizeLinear(x, scale, zero) q = DequantizeLinear(i, scale, zero)", "y = Identity(r)"),
    ):
        model = parse(f"g (float[N, 4, 6, 6] x) => (float y) {{ {before} {MOVES[name]} {behind} }}", opset)
        model.graph.output[0].type.tensor_type.ClearField("shape")
        held = HELD if ct is None else HELD | {"patch": HELD["patch"].astype(np.float32)}
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(np.asarray(a), k) for k, a in held.items()
        )
        if ct is None:
            ct = RNG.normal(size=run(model, x=x)["y"].shape).astype(np.float32)
        maps.append(run(vjp(model, "x"), x=x, y_cotangent=ct)["x_gradient"])
    assert np.abs(maps[1]).max() > 0.1
    np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "factor"),
    [
        ("n = Mul(i, m)", 3),
        ("n = Div(i, one)", 1),
        ("n = MatMul(i, eye)", 1),
        ("n = Cast<to = 7>(i)", 1),
        ("a = Add(i, large) n = Abs(a)", 1),
    ],
)
def test_products_of_integers(nodes, factor):
    """Rounded straight through: the gradient is that of the product of real numbers."""
    w, x = RNG.integers(-9, 10, (8, 5)).astype(np.int8), RNG.uniform(0.1, 1, (4, 8)).astype(np.float32)
    model = parse(
        "g (float[N, 8] x) => (float[N, 5] y) { q = QuantizeLinear(x, s) i = MatMulInteger(q, w) "
        f"{nodes} c = Cast<to = 1>(n) y = Mul(c, s) }}"
    )
    held = {"w": w, "s": np.float32(1 / 255), "m": np.int32(3), "one": np.int32(1), "large": np.int32(10**6)}
    held |= {"eye": np.eye(5, dtype=np.int32)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), k) for k, a in held.items())
    ct = RNG.normal(size=(4, 5)).astype(np.float32)
    found = run(vjp(model), x=x, y_cotangent=ct)["x_gradient"]
    np.testing.assert_allclose(found, factor * ct @ w.T.astype(np.float32), rtol=1e-4, atol=1e-3)
