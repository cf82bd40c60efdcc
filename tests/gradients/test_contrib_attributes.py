"""Attributes and inputs of operators that are written out: each is read, or the node is refused; none is left out."""

import numpy as np
import pytest
from support.tiny_graphs import parse, run

from onnxattr.compile.gradient import vjp
from onnxattr.errors import UnsupportedOpError

GROUPED = (
    "g (float[2,5,32] x, float[2,5,16] k, float[2,5,16] v, float[2,2,12,8] p, int32[2] n, float[4] f)"
    " => (float[2,5,32] y) <int32[2] last = {{6, 6}}, int32 total = {{12}}> {{"
    " y, a, b = com.microsoft.GroupQueryAttention<num_heads=4, kv_num_heads=2{0}>(x, k, v, p, p, last, total{1}) }}"
)
GROWN = "g (float[N,4] x, float[N,1] g, float[1,1] w) => (float[N,4] y) {{ y = com.microsoft.{} }}"
REFUSED = {
    "lengths of padded queries": (GROUPED.format("", ",,,,,,,,,, n"), "query_seqlens.*without that input"),
    "a norm of queries alone": (GROUPED.format("", ",,,,,,,, f"), "expected both q_norm_weight and k_norm_weight"),
    "keys kept in integers": (GROUPED.format(', k_quant_type="PER_TENSOR"', ""), "keeps past keys.*plain cache"),
    "a window without a key": (GROUPED.format(", local_window_size=0", ""), "unsupported local_window_size 0"),
    "an attribute of a later version": (GROUPED.format(", sparsity=2", ""), "unsupported attribute sparsity=2"),
    "a gate that is projected": (GROWN.format("GatedAdd(x, x, g, w)"), "more inputs than the 3.*'w'"),
    "an attribute of no version": (GROWN.format("Gelu<approximate=1>(x)"), "Gelu.*unsupported attribute approximate=1"),
    "an attribute of no version in a loop": (
        "g (float[N,4] x, int64 n) => (float[N,4] y) { go = Constant<value: tensor = bool t {1}>()"
        " y = Loop<body = b (int64 i, bool c, float[N,4] s) => (bool d, float[N,4] t)"
        " { d = Identity(c) t = com.microsoft.Gelu<approximate=1>(s) }>(n, go, x) }",
        "Gelu.*unsupported attribute approximate=1",
    ),
    "an activation of no version": (
        GROWN.format('FusedGemm<activation="Relu", activation_delta=0.5>(x, x)'),
        "unsupported attribute activation_delta=0.5",
    ),
    "one tensor of keys and wider values": (
        "g (float[2,5,6] x, float[6,14] w) => (float[2,5,6] y, float[A,B,C,D,E] z)"
        " { y, z = com.microsoft.Attention<num_heads=2, qkv_hidden_sizes=[4, 4, 6]>(x, w) }",
        r"output 1 \('z'\) is used.*gives none",
    ),
    "one buffer for past and present": (
        "g (float[2,5,6] x, float[6,24] w, float[24] b, float[2,2,2,3,4] p) => (float[2,5,8] y)"
        " { y, z = com.microsoft.Attention<num_heads=2, past_present_share_buffer=1>(x, w, b,, p) }",
        "shares one buffer",
    ),
    "past keys without present ones": (
        "g (float[2,5,8] x, float[2,2,3,4] p) => (float[2,5,8] y)"
        " { y = com.microsoft.MultiHeadAttention<num_heads=2>(x, x, x,,,, p, p) }",
        "MultiHeadAttention.*leaves out the output present_key or present_value.*Name both outputs",
    ),
    "past values without present ones": (
        "g (float[2,5,8] x, float[2,2,3,4] p) => (float[2,5,8] y)"
        " { y, z = com.microsoft.MultiHeadAttention<num_heads=2>(x, x, x,,,, p, p) }",
        "MultiHeadAttention.*leaves out the output present_key or present_value.*Name both outputs",
    ),
    "past keys of groups without present ones": (
        GROUPED.format("", "").replace("y, a, b =", "y ="),
        "GroupQueryAttention.*leaves out the output present_key or present_value.*Name both outputs",
    ),
    "a transposed product": (
        "g (float[N,4] x, uint8[32] w, float[1] s) => (float[N,16] y)"
        " { y = com.microsoft.MatMulBnb4<K=16, N=4, block_size=64, quant_type=1, transB=0>(x, w, s) }",
        "unsupported transB=0.*Export the model for inference",
    ),
    "columns in an order with packed zero points": (
        "g (float[N,32] x, uint8[4,1,16] w, float[4] s, uint8[4] z, int32[32] i) => (float[N,4] y)"
        " { y = com.microsoft.MatMulNBits<K=32, N=4, block_size=32, bits=4>(x, w, s, z, i) }",
        "packed zero points.*without g_idx",
    ),
    "a product that rounds, of a later version": (
        "g (float[N,32] x, uint8[4,1,16] w, float[4] s) => (float[N,4] y)"
        " { y = com.microsoft.MatMulNBits<K=32, N=4, block_size=32, bits=4, accuracy_level=4, sparsity=2>(x, w, s) }",
        "unsupported attribute sparsity=2",
    ),
    "large matrices": (
        "g (float[17,17] x) => (float[17,17] y) { y = com.microsoft.Inverse(x) }",
        "unsupported size 17.*up to 16",
    ),
    "an axis that is computed": (
        "g (float[2,3] x, int32[1] a) => (float[2,3,1] y) { y = com.microsoft.ExpandDims(x, a) }",
        "axis is computed; expected a constant",
    ),
    "pads that follow from sizes": (
        "g (float[1,2,4,4] x, float[2,3,3,3] w, int64[4] p) => (float[A,B,C,D] y)"
        ' { y = com.microsoft.ConvTransposeWithDynamicPads<auto_pad="SAME_UPPER">(x, w, p) }',
        "unsupported auto_pad; supported: NOTSET",
    ),
    "experts with third weights": (
        "g (float[4,6] x, float[4,5] p, float[5,8,6] a, float[5,6,8] b) => (float[4,6] y)"
        " { y = com.microsoft.MoE<k=2>(x, p, a,, b,, a) }",
        "third weights.*Export the experts",
    ),
    "a window of states": (
        "g (float[2,3,5] x, float[3,1,4] w) => (float[2,3,5] y)"
        " { y, s = com.microsoft.CausalConvWithState<state_window=2>(x, w) }",
        "unsupported state_window.*without speculative decoding",
    ),
    "a gate that is missing": (
        "g (float[2,4,6] x) => (float[2,4,6] y)"
        " { y, s = com.microsoft.LinearAttention<q_num_heads=2, kv_num_heads=2>(x, x, x) }",
        "needs decay where it is gated",
    ),
    "experts in floats of four bits": (
        "g (float[4,6] x, float[4,5] p, uint8[5,8,3] a, float[5,8] s, uint8[5,6,4] b, float[5,6] t) => (float[4,6] y)"
        ' { y = com.microsoft.QMoE<k=2, quant_type="fp4">(x, p, a, s,, b, t) }',
        "unsupported form of its weights.*'fp4'.*or as MoE",
    ),
    "experts in the layout of a GPU": (
        "g (float[4,6] x, float[4,5] p, uint8[5,8,3] a, float[5,8] s, uint8[5,6,4] b, float[5,6] t) => (float[4,6] y)"
        " { y = com.microsoft.QMoE<k=2, block_size=16, accuracy_level=4, weights_prepacked=1>(x, p, a, s,, b, t) }",
        "weights_prepacked=0",
    ),
    "widths of other inputs": (
        "g (float[N,4] x) => (float[N,4] y) { y = ai.onnx.ml.FeatureVectorizer<inputdimensions=[4, 4]>(x) }",
        "1 inputs and 2 inputdimensions",
    ),
    "a classifier without labels": (
        "g (float[N,1] x) => (int64[N] l, float[N,2] y)"
        " { l, y = ai.onnx.ml.LinearClassifier<coefficients=[1.0, 2.0], intercepts=[0.1, 0.2]>(x) }",
        "LinearClassifier node.* has no labels of classes.*Export the model again",
    ),
    "more coefficients than features": (
        "g (float[N,4] x) => (float[N,1] y) { y = ai.onnx.ml.LinearRegressor<coefficients=[1.0, 2.0]>(x) }",
        "LinearRegressor node.* has 2 numbers in coefficients; expected 1 x 4. Export the model again",
    ),
    "support vectors of unknown number": (
        "g (float[N,2] x) => (float[N,1] y) { y = ai.onnx.ml.SVMRegressor<coefficients=[1.0, 2.0],"
        ' support_vectors=[1.0, 2.0, 3.0, 4.0], n_supports=-1, rho=[0.1], kernel_type="RBF">(x) }',
        "SVMRegressor node.* has 4 numbers in support_vectors; expected -1 rows of one length",
    ),
    "fewer coefficients than pairs of classes": (
        "g (float[N,1] x) => (int64[N] l, float[N,3] y) { l, y = ai.onnx.ml.SVMClassifier<coefficients=[1.0, 2.0, 3.0],"
        " support_vectors=[1.0, 2.0, 3.0], vectors_per_class=[1, 1, 1], rho=[0.1, 0.1, 0.1],"
        " classlabels_ints=[0, 1, 2]>(x) }",
        "SVMClassifier node.* has 3 numbers in coefficients; expected 2 x 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused(name):
    text, match = REFUSED[name]
    domains = "ai.onnx.ml" if "ai.onnx.ml" in text else "com.microsoft"
    with pytest.raises(UnsupportedOpError, match=match):
        vjp(parse(text, 18, domains=domains), "x", "y")


#: Nodes whose last outputs are listed and have no name.
LEFT_OUT = {
    "sum": "y, a, b, c = com.microsoft.SkipLayerNormalization(x, x, g)",
    "one of two": "y, k, v = com.microsoft.MultiHeadAttention<num_heads=2>(x, x, x)",
    "rate": "y, b = com.microsoft.LinearAttentionGate(x, g, g, x)",
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_outputs_without_a_name(name):
    text = f"g (float[2,3,4] x, float[4] g) => (float[2,3,4] y) {{ {LEFT_OUT[name]} }}"
    whole = parse(text, 18, domains="com.microsoft")
    part = parse(text, 18, domains="com.microsoft")
    part.graph.node[0].output[-1] = ""
    rng = np.random.default_rng(0)
    sizes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in whole.graph.input}
    feeds = {name: rng.normal(size=dims).astype(np.float32) for name, dims in sizes.items()}
    maps = [run(vjp(model, "x"), **feeds, y_cotangent=feeds["x"]) for model in (whole, part)]
    np.testing.assert_allclose(maps[1]["y"], run(part, **feeds)["y"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(maps[0]["x_gradient"], maps[1]["x_gradient"])


def test_attributes_in_any_order():
    """A file may hold them in any order; onnx.helper sorts them."""
    text = (
        "g (float[N,4] x, float[4,4] w) => (float[N,4] y) { y = com.microsoft.FusedGemm"
        '<activation_beta=0.4, activation_alpha=0.1, activation="HardSigmoid">(x, w) }'
    )
    model = parse(text, 18, domains="com.microsoft")
    assert model.graph.node[0].attribute[0].name == "activation_beta"
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 4), (4, 4)))
    found = run(vjp(model, "x"), x=x, w=w, y_cotangent=np.ones((3, 4), np.float32))
    np.testing.assert_array_equal(found["y"], run(model, x=x, w=w)["y"])
    inside = np.abs(0.1 * x @ w + 0.4 - 0.5) < 0.5
    np.testing.assert_allclose(found["x_gradient"], 0.1 * inside @ w.T, rtol=0, atol=1e-6)
