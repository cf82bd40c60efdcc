"""Products with weights of few bits that round their input to 8 bits (accuracy_level=4), as most tools write them."""

import re

import numpy as np
import onnx
import pytest
from support.tiny_graphs import parse, run

import onnxattr
from onnxattr import IntegratedGradients, vjp

#: Bits, size of a block, and further inputs, of products that round their input to 8 bits.
ROUNDED = {
    "4 bits": (4, 32, ""),
    "4 bits in small blocks": (4, 16, ""),
    "zero points and bias": (4, 32, ", z,, b"),
    "8 bits": (8, 32, ", z"),
    "2 bits": (2, 64, ""),
    # These the kernel computes in floats.
    "2 bits in small blocks": (2, 16, ""),
    "zero points in floats": (4, 32, ", f"),
    "groups": (4, 32, ",, g"),
}


def rounded(name, level, body="h = Sin(x) p = {} y = Tanh(p)", x="h"):
    bits, size, rest = ROUNDED[name]
    count = 128 // size
    node = f"MatMulNBits<K=128, N=6, bits={bits}, block_size={size}, accuracy_level={level}>({x}, w, s{rest})"
    text = f"g (float[N,128] x) => (float[N,6] y) {{ {body.format('com.microsoft.' + node)} }}"
    model = parse(text, domains="com.microsoft")
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.integers(0, 256, (6, count, size * bits // 8)).astype(np.uint8),
        "s": rng.uniform(0.01, 0.02, 6 * count).astype(np.float32) * 2.0 ** (4 - bits),
        "z": rng.integers(0, 256, (6, -(-count * bits // 8))).astype(np.uint8),
        "f": rng.uniform(6, 9, (6, count)).astype(np.float32),
        "g": rng.permutation(np.arange(128) // size).astype(np.int32),
        "b": rng.normal(size=6).astype(np.float32),
    }
    for key in {"w", "s"} | ({*rest} & {*arrays}):
        model.graph.initializer.append(onnx.numpy_helper.from_array(arrays[key], key))
    return model


@pytest.mark.parametrize("name", ROUNDED)
def test_products_that_round_their_input_are_differentiated_straight_through(name):
    """accuracy_level=4: the prediction is the file's own, the gradient that of the product in floats."""
    model, plain = rounded(name, 4), rounded(name, 1, "y = {}", "x")
    rng = np.random.default_rng(0)
    x, ct = (rng.normal(size=(3, count)).astype(np.float32) for count in (128, 6))
    y = run(model, x=x)["y"]
    found = run(vjp(model), x=x, y_cotangent=ct)
    np.testing.assert_array_equal(found["y"], y)
    # The product with the identity, less that with zeros, gives the weights.
    units = np.concatenate([np.eye(128, dtype=np.float32), np.zeros((1, 128), np.float32)])
    products = run(plain, x=units)["y"].astype(np.float64)
    expected = (ct * (1 - y.astype(np.float64) ** 2)) @ (products[:-1] - products[-1]).T * np.cos(x)
    np.testing.assert_allclose(found["x_gradient"], expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_maps_of_products_that_round_their_input(tmp_path):
    model = rounded("zero points and bias", 4)
    x = np.random.default_rng(1).normal(size=(3, 128)).astype(np.float32)
    method = IntegratedGradients(model, steps=4)
    np.testing.assert_array_equal(method.predict(x), run(model, x=x)["y"])
    expected = method.explain(x, [0, 2, 5])
    for rendering in ("batch", "loop"):
        method.export(tmp_path / "e.onnx", rendering)
        found = onnxattr.load(tmp_path / "e.onnx").explain(x, [0, 2, 5])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


LOOP = """g (float[N,3,W] x, int64 n) => (float[N,3,W] y) {{ go = Constant<value: tensor = bool t {{1}}>() h = Sin(x)
    y = Loop<body = step (int64 i, bool c, float[N,3,W] a) => (bool d, float[N,3,W] e)
    {{ d = Identity(c) {nodes} e = Tanh(p) }}>(n, go, h) }}"""
#: Width of the state, nodes from a to p, and their weights.
FUSED = {
    "rounded product": (128, "p = com.microsoft.MatMulNBits<K=128, N=128, bits=4, block_size=32, accuracy_level=4>"
        "(a, w, s)",
        {"w": (128, 4, 16), "s": (512,)}),
    "experts": (128, "p = com.microsoft.QMoE<k=2, activation_type='silu', expert_weight_bits=8, block_size=32>"
        "(a, q, w, s,, v, t)",
        {"q": (6, 3), "w": (3, 128, 128), "s": (3, 128, 4), "v": (3, 128, 128), "t": (3, 128, 4)}),
    "product": (8, "p = com.microsoft.FusedMatMul<alpha=0.5, transB=1>(a, m)", {"m": (8, 8)}),
    "attention": (8, "p = com.microsoft.Attention<num_heads=2>(a, m, b)", {"m": (8, 24), "b": (24,)}),
    "heads": (8, "p = com.microsoft.MultiHeadAttention<num_heads=2>(a, a, a)", {}),
    "product and heads": (8, "pm = com.microsoft.FusedMatMul(a, m) pq, pk, pv = Split<axis=2, num_outputs=3>(pm)"
        " p = com.microsoft.MultiHeadAttention<num_heads=2>(pq, pk, pv)", {"m": (8, 24)}),
}  # fmt: skip


@pytest.mark.parametrize("kind", FUSED)
def test_states_of_loops_that_depend_on_fused_nodes(kind):
    """Three steps have the gradient of three such parts in a row, which have no state."""
    width, nodes, shapes = FUSED[kind]
    nodes, rng, arrays = nodes.replace("'", '"'), np.random.default_rng(0), {}
    for key, size in shapes.items():
        few = key in "wv"
        drawn = rng.integers(0, 256, size) if few else rng.normal(size=size)
        arrays[key] = (drawn / 1000 if key in "st" else drawn).astype(np.uint8 if few else np.float32)
    rows = ["h = Sin(x)"]
    for before, after in (("h", "k1"), ("k1", "k2"), ("k2", "y")):
        part = re.sub(r"\bp[mqkv]?\b", rf"\g<0>{before}", re.sub(r"\ba\b", before, nodes))
        rows.append(f"{part} {after} = Tanh(p{before})")
    straight = "g (float[N,3,W] x) => (float[N,3,W] y) { " + " ".join(rows) + " }"
    x, ct = rng.normal(size=(2, 2, 3, width)).astype(np.float32)
    found = []
    for text, feeds in ((LOOP.format(nodes=nodes), {"n": np.array(3)}), (straight, {})):
        model = parse(text.replace("W]", f"{width}]"), domains="com.microsoft")
        for key, array in arrays.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, key))
        found.append(run(vjp(model, "x"), x=x, y_cotangent=ct, **feeds))
    for key in ("y", "x_gradient"):
        atol = 2e-5 * np.abs(found[1][key]).max()
        np.testing.assert_allclose(found[0][key], found[1][key], rtol=0, atol=atol)


def dequantised(packed, scales, zeros, bits, size):
    """(q - zero point) * scale along the last axis, the lowest bits first."""
    places = np.arange(0, 8, bits)

    def numbers(array):
        return (
            ((array[..., None] >> places) & (2**bits - 1)).reshape(*array.shape[:-1], -1).astype(np.float32)
        )

    blocks = scales.shape[-1]
    zero = numbers(zeros)[..., :blocks]
    return (numbers(packed) - np.repeat(zero, size, -1)) * np.repeat(scales, size, -1)


@pytest.mark.parametrize(("bits", "level"), [(4, 4), (8, 0), (8, 4), (2, 0)])
def test_experts_that_round_their_input_are_differentiated_straight_through(bits, level):
    """Blocks of other than 4 bits, or accuracy_level=4: the gradient is that of MoE with the real weights."""
    rng, (experts, width, inner, size) = np.random.default_rng(0), (3, 128, 256, 32)
    shapes = {"1": (experts, inner, width), "2": (experts, width, inner)}
    arrays, real = {}, {}
    for layer, (*rows, columns) in shapes.items():
        counts = (columns * bits // 8, columns // size, -(-columns // size * bits // 8))
        packed, zeros = (rng.integers(0, 256, (*rows, counts[k])).astype(np.uint8) for k in (0, 2))
        scales = rng.uniform(0.01, 0.02, (*rows, counts[1])).astype(np.float32) * np.float32(
            2.0 ** (4 - bits)
        )
        arrays |= {f"w{layer}": packed, f"s{layer}": scales, f"z{layer}": zeros}
        real[f"w{layer}"] = dequantised(packed, scales, zeros, bits, size)
    shared = 'k=2, activation_type="silu"'
    nodes = {
        f"QMoE<{shared}, expert_weight_bits={bits}, block_size={size}, accuracy_level={level}>"
        "(x, p, w1, s1,, w2, s2,,,,, z1, z2)": arrays,
        f"MoE<{shared}, normalize_routing_weights=1>(x, p, w1,, w2)": real,
    }
    found, predictions = [], []
    x, ct = rng.normal(size=(2, 6, width)).astype(np.float32)
    p = rng.normal(size=(6, experts)).astype(np.float32)
    for node, weights in nodes.items():
        text = f"g (float[N,{width}] x, float[N,{experts}] p) => (float[N,{width}] y) {{ y = com.microsoft.{node} }}"
        model = parse(text, domains="com.microsoft")
        for key, array in weights.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, key))
        predictions.append(run(model, x=x, p=p)["y"])
        found.append(run(vjp(model), x=x, p=p, y_cotangent=ct))
    np.testing.assert_array_equal(found[0]["y"], predictions[0])
    assert 1e-3 < np.abs(predictions[0] - predictions[1]).max() / np.abs(predictions[1]).max() < 2e-2
    for key in ("x_gradient", "p_gradient"):
        atol = 2e-6 * np.abs(found[1][key]).max()
        np.testing.assert_allclose(found[0][key], found[1][key], rtol=0, atol=atol)
