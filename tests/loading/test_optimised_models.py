"""Files written by ONNX Runtime's optimisers have the gradient of the models they were made from."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from support import minilm
from support.tiny_graphs import parse, run

from onnxattr.attributions import GuidedBackprop, Saliency
from onnxattr.compile.gradient import vjp
from onnxattr.errors import UnsupportedOpError
from onnxattr.loading.load import load
from onnxattr.testing import check_vjp

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # models/ is a folder of the repository, not of the installed package

from models import efficientnet_lite0, photos  # noqa: E402

TOKENS = {
    "input_ids": np.array([[101, 2023, 2003, 1037, 3231, 102], [101, 4937, 2041, 102, 0, 0]]),
    "attention_mask": np.array([[1] * 6, [1, 1, 1, 1, 0, 0]]),
    "token_type_ids": np.zeros((2, 6), np.int64),
}


def optimised(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path / "optimised.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)


def by_transformers(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    from onnxruntime.transformers import optimizer

    onnx.save(model, path / "plain.onnx")
    settings = {"model_type": "bert", "num_heads": minilm.HEADS, "hidden_size": minilm.WIDTH, "opt_level": 0}
    return optimizer.optimize_model(str(path / "plain.onnx"), **settings).model


def fused(model: onnx.ModelProto) -> Counter:
    return Counter(node.op_type for node in model.graph.node if node.domain == "com.microsoft")


def assert_same_gradient(plain, other, feeds, wrt):
    maps = []
    for model, name in zip((plain, other), wrt, strict=True):
        gradient = vjp(model, name)
        assert {node.domain for node in gradient.graph.node} == {""}
        cotangent = gradient.graph.input[-1].name
        primal = run(model, **feeds)[cotangent.removesuffix("_cotangent")]
        ct = np.random.default_rng(0).normal(size=primal.shape).astype(np.float32)
        maps.append(run(gradient, **feeds, **{cotangent: ct})[f"{name}_gradient"])
    np.testing.assert_allclose(maps[1], maps[0], rtol=0, atol=1e-5 * np.abs(maps[0]).max())


def test_efficientnet(tmp_path):
    model = efficientnet_lite0.build()
    small = optimised(model, tmp_path)
    assert fused(small)["FusedConv"] > 30
    x = efficientnet_lite0.preprocess(photos.centre_crop("chelsea"))[None]
    assert_same_gradient(model, small, {"image": x}, ("image", "image"))


#: What is behind a fused node is of unknown rank as long as that is: in ONNX's inference sizes and states go on.
BEHIND = {
    "Resize": "s = Shape(c) sizes = Slice(s, from, to) b = Shape(c) few = Slice(b, none, from) "
    "all = Concat<axis=0>(few, sizes) r = Resize<mode='nearest'>(c, , , all)",
    "Scan": "last, r = Scan<num_scan_inputs=1, scan_input_axes=[2], scan_output_axes=[2], body = b (a, e) => (a2, o) "
    "{ a2 = Add(a, e) o = Tanh(a2) }>(start, c)",
}


@pytest.mark.parametrize("kind", BEHIND)
def test_fused_nodes_behind_fused_nodes(tmp_path, kind):
    weights = "<int64[1] none = {0}, int64[1] from = {2}, int64[1] to = {4}, float two = {2}>"
    start = "z = ReduceSum<keepdims=0>(c, from) start = Mul(z, two) " if kind == "Scan" else ""
    model = parse(
        f"g (float[N,2,4,4] x, float[2,2,3,3] w) => (float[N,2,D,E] y) {weights} {{ k = Conv(x, w) c = Relu(k) "
        f"{start}{BEHIND[kind]} t = Transpose<perm=[0,1,3,2]>(r) m = MatMul(r, t) y = Mul(m, two) }}".replace(
            "'", '"'
        )
    )
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim if value.name != "w" else ():
            dim.Clear()
    small = optimised(model, tmp_path)
    assert fused(small) == {"FusedConv": 1, "FusedMatMul": 1}
    rng = np.random.default_rng(3)
    feeds = {"x": rng.normal(size=(2, 2, 4, 4)), "w": rng.normal(size=(2, 2, 3, 3))}
    feeds = {name: array.astype(np.float32) for name, array in feeds.items()}
    assert_same_gradient(model, small, feeds, ("x", "x"))


def test_guided_backpropagation_sees_the_relus_in_fused_products(tmp_path):
    model = onnx.load(ROOT / "models" / "tabular.onnx")
    small = optimised(model, tmp_path)
    assert fused(small) == {"FusedGemm": 2}
    width = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    rows = np.random.default_rng(0).normal(size=(5, width)).astype(np.float32)
    settings = {"output_layer": "logits", "reducer": None}
    maps = [GuidedBackprop(m, **settings).explain(rows, np.zeros(5, int)) for m in (model, small)]
    plain = Saliency(model, **settings).explain(rows, np.zeros(5, int))
    assert np.abs(maps[0] - plain).max() > 1e-2
    np.testing.assert_allclose(maps[1], maps[0], rtol=0, atol=1e-5 * np.abs(maps[0]).max())


@pytest.mark.parametrize(
    ("inputs", "operands", "prepare"),
    [
        ("float[2,5,2,3,4] q", "q", lambda q, k, v: {"q": np.stack([q, k, v], 3)}),
        (
            "float[2,5,8] q, float[2,5,2,2,4] k",
            "q, k",
            lambda q, k, v: {"q": q.reshape(2, 5, 8), "k": np.stack([k, v], 3)},
        ),
    ],
)
def test_packed_attention_is_that_of_its_parts(inputs, operands, prepare):
    """ONNX Runtime's CPU kernels do not take packed values; the definitions do."""

    def attend(inputs, operands, feeds):
        text = f"""<ir_version: 8, opset_import: ["": 18, "com.microsoft": 1]>
        agraph ({inputs}) => (float[2,5,8] y) {{
            y = com.microsoft.MultiHeadAttention <num_heads: int = 2> ({operands})
        }}"""
        return run(ir.serde.serialize_model(load(onnx.parser.parse_model(text))), **feeds)["y"]

    q, k, v = np.random.default_rng(0).normal(size=(3, 2, 5, 2, 4)).astype(np.float32)
    plain = {name: part.reshape(2, 5, 8) for name, part in (("q", q), ("k", k), ("v", v))}
    expected = attend("float[2,5,8] q, float[2,5,8] k, float[2,5,8] v", "q, k, v", plain)
    np.testing.assert_allclose(attend(inputs, operands, prepare(q, k, v)), expected, atol=1e-6)


def test_what_a_definition_lacks_is_said_where_it_matters():
    text = """<ir_version: 8, opset_import: ["": 18, "com.microsoft": 1]>
    agraph (float[2,1,8] x, float[2,2,3,4] keys, float[2,2,3,4] values) => (float[2,1,8] y, float[2,1,8] z)
    <int32[1] count = {3}> {
        z = Tanh (x)
        y, k, v = com.microsoft.MultiHeadAttention <num_heads: int = 2> (z, z, z, , , , keys, values, count)
    }"""
    model = onnx.parser.parse_model(text)
    with pytest.raises(UnsupportedOpError, match=r"MultiHeadAttention.* shares one buffer"):
        vjp(model, "x", "y")
    x = np.random.default_rng(0).normal(size=(2, 1, 8)).astype(np.float32)
    cut = Saliency(model, output_layer="z", wrt="x", reducer=None)
    rows = {"x": x, "keys": np.zeros((2, 2, 3, 4)), "values": np.zeros((2, 2, 3, 4))}
    np.testing.assert_allclose(cut.explain(rows, np.ones_like(x)), 1 - np.tanh(x) ** 2, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimise", "operators"),
    [
        (optimised, {"FusedMatMul": 6, "BiasGelu": 6}),
        (by_transformers, {"Attention": 6, "SkipLayerNormalization": 12, "BiasGelu": 6}),
    ],
)
def test_minilm(tmp_path, optimise, operators):
    pytest.importorskip(minilm.PACKAGE, reason="its weights are missing: `make real-models` installs them")
    model = minilm.build()
    small = optimise(model, tmp_path)
    assert fused(small) == operators
    assert_same_gradient(model, small, TOKENS, ("words", "words"))


@pytest.mark.parametrize(
    ("inputs", "node", "said"),
    [
        (
            "float[2,4] x",
            'CDist <metric: string = "cityblock"> (x, x)',
            "metric 'cityblock'; supported.*'euclidean'",
        ),
        (
            "float[1,1,4,4] x, float[1,1,3,3] w",
            'FusedConv <activation: string = "Mish"> (x, w)',
            "activation 'Mish'; supported: Relu, .*LeakyRelu",
        ),
        (
            "float[2,32] x, uint8[4,1,20] w, float[4] s",
            "MatMulNBits <K: int = 32, N: int = 4, bits: int = 5, block_size: int = 32> (x, w, s)",
            "bit width 5; supported: 2, 4, 8",
        ),
        (
            "float[2,3,8] x, int64[1] p, float[9,2] c",
            "RotaryEmbedding <is_packed_batching: int = 1, num_heads: int = 2> (x, p, c, c)",
            "is_packed_batching=1; supported: 0",
        ),
    ],
)
def test_options_that_are_not_supported_are_named_beside_those_that_are(inputs, node, said):
    model = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["": 18, "com.microsoft": 1]>
    agraph ({inputs}) => (float[] y) {{ y = com.microsoft.{node} }}""")
    with pytest.raises(UnsupportedOpError, match=f"{node.split(' ')[0]} node .*: unsupported {said}"):
        vjp(model, "x")


#: What a file has that ONNX Runtime saved after it had joined a product and a sum: shapes of its own naming.
SAVED = {
    "attention": (
        "a = com.microsoft.Attention<num_heads=2>(x, w12, b12) s = Reshape(a, gemm_input_shape)"
        " y = Reshape(s, gemm_output_shape)"
    ),
    "two of them": (
        "a = com.microsoft.Attention<num_heads=2>(x, w12, b12) c = com.microsoft.Attention<num_heads=2>(a, w12, b12)"
        " s = Reshape(c, gemm_input_shape_token_0) y = Reshape(s, gemm_output_shape_token_3)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAVED)
def test_shapes_that_the_runtime_has_named(name):
    """ONNX Runtime writes such shapes anew where decompositions leave a product and a sum, and took no second one."""
    arrays = {
        "gemm_input_shape": np.array([-1, 4]),
        "gemm_input_shape_token_0": np.array([-1, 4]),
        "gemm_output_shape": np.array([2, 3, 4]),
        "gemm_output_shape_token_3": np.array([2, 3, 4]),
        **{key: np.random.default_rng(0).normal(size=size).astype(np.float32)
           for key, size in (("w12", (4, 12)), ("b12", 12), ("w4", (4, 4)), ("b4", 4))},
    }  # fmt: skip
    model = parse(f"g (float[2,3,4] x) => (float[2,3,4] y) {{ {SAVED[name]} }}", domains="com.microsoft")
    for key, array in arrays.items():
        if any(key in node.input for node in model.graph.node):
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, key))
    x, ct = np.random.default_rng(1).normal(size=(2, 2, 3, 4)).astype(np.float32)
    found = run(vjp(model), x=x, y_cotangent=ct)
    np.testing.assert_allclose(found["y"], run(model, x=x)["y"], rtol=0, atol=2e-6)
    check_vjp(ir.serde.serialize_model(load(model)), {"x": x}, directions=2)
