"""What `onnxattr inspect --runtime` says, from the tables alone; `make test-portable` compares them with runtimes."""

import json
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx.parser import parse_model as parse
from portable.minimal import MINIMAL
from support.small_models import build, node

from models import digits, emotion, gunpoint
from onnxattr import GradCAM, IntegratedGradients, Saliency, VarGrad
from onnxattr.cli import main
from onnxattr.compile.explainer_file import describe
from onnxattr.errors import ParameterError
from onnxattr.graph.runtimes.tables import WHAT_HAPPENS, table_of
from onnxattr.inspection import RUNTIMES, findings, inspect


def found(source, runtime):
    return Counter((one.node.op_type, one.kind, one.happens) for one in findings(source, runtime))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_tables_say_their_version_and_source(runtime):
    table = table_of(runtime)
    assert table.version
    assert table.source
    for known in table.known:
        assert known.happens in WHAT_HAPPENS
        onnx.defs.get_schema(known.operator)
        # What was measured has a file that shows it.
        assert known.minimal or runtime not in MINIMAL
    for operator in table.kernels or []:
        onnx.defs.get_schema(operator)


NODES = {
    "product of sizes": ("int64[3] x", "int64[1] y", "y = ReduceProd (x)"),
    "remainder": ("int64[3] x", "int64[3] y", "y = Mod (x, x)"),
    "floats": ("float[3] x", "float[3] y", "y = Mul (x, x)"),
    "where of integers": ("bool[3] x, int64[3] a", "int64[3] y", "y = Where (x, a, a)"),
    "sum": ("float[3] x", "float[3] y", "y = Sum (x, x, x)"),
    "step": ("float[3] x", "float[3] y", "r = Relu (x) y = HardSigmoid <alpha = 1.0, beta = 0.0> (r)"),
    "step of any sign": ("float[3] x", "float[3] y", "y = HardSigmoid <alpha = 1.0, beta = 0.0> (x)"),
    "step with a beta": ("float[3] x", "float[3] y", "r = Relu (x) y = HardSigmoid <alpha = 1.0, beta = -0.5> (r)"),
    "axes of a known number": ("float[2,3] x, int64[1] axes", "float[a,b] y", "y = ReduceSum (x, axes)"),
    "unequal pads": (
        "float[1,1,4] x, float[1,1,3] w", "float[1,1,5] y",
        "y = ConvTranspose <pads = [0, 1]> (x, w)",
    ),
    **{
        f"{name}": (f"float[1,2,{x}] x, float[4,{w}] w", f"float[1,4,{y}] y", f"y = Conv <group = {group}> (x, w)")
        for name, x, w, y, group in [
            ("nine in a row", "12,12", "2,1,9", "12,4", 1), ("nine in a column", "12,12", "2,9,1", "4,12", 1),
            ("nine of a series", "12", "2,9", "4", 1), ("nine in a square", "12,12", "2,3,3", "10,10", 1),
            ("seven in a row", "12,12", "2,1,7", "12,6", 1),
            ("nine in a row of each channel", "12,12", "1,1,9", "12,4", 2),
        ]
    },
    **{
        f"states of {name}": (
            "int64 steps, bool go, float[2] a, float[2] b", "float[2] y, float[2] z",
            f"""y, z = Loop (steps, go, a, {second}) <body = l (int64 i, bool c, float[2] s, float[2] t) =>
            (bool d, float[2] u, float[2] v) {{ d = Identity (c) u = Add (s, s) v = Mul (t, t) }}>""",
        )
        for name, second in [("one start", "a"), ("two starts", "b")]
    },
    "scaled rows of a batch": (
        "float[T,N,2] x, float[N,2] start", "float[N,2] y",
        """scale = Constant <value = float[2] {2, 3}> ()
        y = Scan <num_scan_inputs = 1, body = b (float[N,2] s, float[N,2] row) => (float[N,2] t) {
          p = Mul (row, scale) t = Add (s, p)
        }> (start, x)""",
    ),
    "scaled rows of 4": (
        "float[T,4,2] x, float[4,2] start", "float[4,2] y",
        """scale = Constant <value = float[2] {2, 3}> ()
        y = Scan <num_scan_inputs = 1, body = b (float[4,2] s, float[4,2] row) => (float[4,2] t) {
          p = Mul (row, scale) t = Add (s, p)
        }> (start, x)""",
    ),
    "rows of 4, scaled alike": (
        "float[T,4,2] x, float[4,2] start", "float[4,2] y",
        """y = Scan <num_scan_inputs = 1, body = b (float[4,2] s, float[4,2] row) => (float[4,2] t) {
          scale = Constant <value_float = 2.0> () p = Mul (row, scale) t = Add (s, p)
        }> (start, x)""",
    ),
    "two layers": (
        "float[T,N,2] x, float[1,4,2] w, float[1,4,4] r", "float[T,1,N,4] y, float[1,N,4] z",
        "y = RNN <hidden_size = 4> (x, w, r) n = Neg (x) m = Neg (n) unused, z = GRU <hidden_size = 4> (m, w, r)",
    ),
    "two layers of one sample": (
        "float[T,1,2] x, float[1,4,2] w, float[1,4,4] r", "float[T,1,1,4] y, float[1,1,4] z",
        "y = RNN <hidden_size = 4> (x, w, r) unused, z = RNN <hidden_size = 4> (x, w, r)",
    ),
    "two layers' last states": (
        "float[T,N,2] x, float[1,4,2] w, float[1,4,4] r", "float[1,N,4] y, float[1,N,4] z",
        ", y = RNN <hidden_size = 4> (x, w, r) , z = RNN <hidden_size = 4> (x, w, r)",
    ),
    "two layers, one behind the other": (
        "float[T,N,4] x, float[1,4,4] w, float[1,4,4] r", "float[T,1,N,4] y, float[1,N,4] z",
        "y = RNN <hidden_size = 4> (x, w, r) one = Constant <value_ints = [1]> () s = Squeeze (y, one) "
        "unused, z = RNN <hidden_size = 4> (s, w, r)",
    ),
    **{
        f"tanh, {name}": (
            "float[1,1,4,4] x", f"float[1,1,4,4] y{more}",
            """k = Constant <value = float[1,1,1,1] {2}> () one = Constant <value = float[1] {1}> ()
            c = Conv (x, k) """ + nodes,
        )
        for name, more, nodes in [
            ("fused", "", "y = Tanh (c)"),
            ("fused with a scale", "", "s = Mul (c, one) y = Tanh (s)"),
            ("twice", ", float[1,1,4,4] z", "y = Tanh (c) z = Tanh (c)"),
            ("behind a sum of two", "", "s = Add (c, x) y = Tanh (s)"),
            ("behind a product of the same", "", "s = Mul (c, c) y = Tanh (s)"),
            ("behind a pool", "", "p = MaxPool <kernel_shape = [1,1]> (c) y = Tanh (p)"),
            ("and another reader", ", float[1,1,4,4] z", "y = Tanh (c) z = Neg (c)"),
            ("and an output", ", float[1,1,4,4] c", "y = Tanh (c)"),
            (
                "and a branch", ", float[1,1,4,4] z",
                """on = Constant <value = bool {1}> () y = Tanh (c)
                z = If (on) <then_branch = a () => (float[1,1,4,4] u) { u = Neg (c) },
                             else_branch = b () => (float[1,1,4,4] v) { v = Abs (c) }>""",
            ),
        ]
    },
    **{
        f"{name} of a fill outside": (
            "float[4] x", "float[4] y",
            """pads = Constant <value = int64[2] {1, -1}> ()
            trips = Constant <value = int64 {3}> () go = Constant <value = bool {1}> ()
            start = Pad (x, pads, fill) some = Greater (start, x)
            y = Loop (trips, go, start) <body = b (int64 i, bool on, float[4] s) => (bool still, float[4] t) {
              still = Identity (on) t = """ + node + " }>",
        )
        for name, node in [("Where", "Where (some, s, fill)"), ("Mul", "Mul (fill, s)"), ("other", "Mul (s, s)")]
    },
    "pool": ("float[1,1,4,4] x", "float[1,1,3,3] y", "y = MaxPool <kernel_shape = [2,2], dilations = [1,1]> (x)"),
    "pool of a series": ("float[1,1,4] x", "float[1,1,3] y", "y = MaxPool <kernel_shape = [2]> (x)"),
    "pool of volumes, spread": (
        "float[1,1,4,4,4] x", "float[1,1,2,3,3] y",
        "y = MaxPool <kernel_shape = [2,2,2], dilations = [2,1,1]> (x)",
    ),
    "pool with places": (
        "float[1,1,4,4] x", "float[1,1,3,3] y, int64[1,1,3,3] i", "y, i = MaxPool <kernel_shape = [2,2]> (x)"
    ),
    "axes of the file": (
        "float[2,3] x", "float[2,1] y", "axes = Constant <value = int64[1] {1}> () y = ReduceSum (x, axes)"
    ),
    "axes of a run": ("float[2,3] x, int64[1] axes", "float[2,1] y", "y = ReduceSum (x, axes)"),
    **{
        name: (inputs, f"float{sizes} y", f"y = Attention <{options}> ({given})")
        for sizes in ("[1,2,3,4]",)
        for name, inputs, options, given in [
            ("attention", f"float{sizes} q", "is_causal = 0", "q, q, q"),
            ("attention with a mask", f"float{sizes} q, float[3,3] m", "is_causal = 0", "q, q, q, m"),
            ("attention with a past", f"float{sizes} q, float[1,2,2,4] p", "is_causal = 0", 'q, q, q, "", p, p'),
            ("attention with a cap", f"float{sizes} q", "softcap = 2.0", "q, q, q"),
        ]
    },
    "attention of three dimensions": (
        "float[1,3,8] q", "float[1,3,8] y", "y = Attention <q_num_heads = 2, kv_num_heads = 2> (q, q, q)"
    ),
    "largest, sorted": (
        "float[4] x", "float[2] y", "k = Constant <value = int64[1] {2}> () y, i = TopK <sorted = 1> (x, k)"
    ),
    "largest, in any order": (
        "float[4] x", "float[2] y", "k = Constant <value = int64[1] {2}> () y, i = TopK <sorted = 0> (x, k)"
    ),
    "halves": ("bfloat16[4] x", "bfloat16[4] y", "y = Tanh (x)"),
    "equal pads": (
        "float[1,1,4] x, float[1,1,3] w", "float[1,1,4] y",
        "y = ConvTranspose <pads = [1, 1]> (x, w)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "runtime", "expected"),
    [
        ("product of sizes", "cuda", {("ReduceProd", "i64", "leaves"): 1}),
        ("product of sizes", "directml", {}),
        ("remainder", "cuda", {}),
        ("remainder", "directml", {("Mod", "i64", "leaves"): 1}),
        ("remainder", "webgpu", {("Mod", "i64", "leaves"): 1}),
        ("remainder", "coreml", {("Mod", "i64", "leaves"): 1}),
        ("remainder", "tensorrt", {}),
        ("remainder", "openvino", {}),
        *(("floats", runtime, {}) for runtime in RUNTIMES),
        ("where of integers", "cuda", {}),
        ("where of integers", "webgpu", {("Where", "i64", "leaves"): 1}),
        ("sum", "webgpu", {("Sum", "f32", "leaves"): 1}),
        ("sum", "cuda", {}),
        ("step", "openvino", {("HardSigmoid", "f32", "wrong"): 1}),
        ("step of any sign", "openvino", {}),
        ("step with a beta", "openvino", {}),
        ("axes of a known number", "openvino", {}),
        ("scaled rows of a batch", "openvino", {}),
        ("scaled rows of 4", "openvino", {("Scan", "f32", "wrong"): 1}),
        ("rows of 4, scaled alike", "openvino", {}),
        ("two layers", "openvino", {("RNN", "f32", "wrong"): 1, ("GRU", "f32", "wrong"): 1}),
        ("two layers of one sample", "openvino", {}),
        ("two layers' last states", "openvino", {}),
        ("two layers, one behind the other", "openvino", {}),
        ("tanh, fused", "webgpu", {("Tanh", "f32", "wrong"): 1}),
        ("tanh, fused with a scale", "webgpu", {("Tanh", "f32", "wrong"): 1}),
        ("tanh, twice", "webgpu", {("Tanh", "f32", "wrong"): 2}),
        ("tanh, behind a sum of two", "webgpu", {}),
        ("tanh, behind a product of the same", "webgpu", {}),
        ("tanh, behind a pool", "webgpu", {}),
        ("tanh, and another reader", "webgpu", {}),
        ("tanh, and an output", "webgpu", {}),
        ("tanh, and a branch", "webgpu", {}),
        ("Where of a fill outside", "webgpu", {("Where", "f32", "refused"): 1}),
        ("Mul of a fill outside", "webgpu", {("Mul", "f32", "refused"): 1}),
        ("other of a fill outside", "webgpu", {}),
        ("nine in a row", "opencv", {("Conv", "f32", "wrong"): 1}),
        ("nine in a column", "opencv", {("Conv", "f32", "wrong"): 1}),
        ("nine of a series", "opencv", {("Conv", "f32", "wrong"): 1}),
        ("nine in a square", "opencv", {}),
        ("seven in a row", "opencv", {}),
        ("nine in a row of each channel", "opencv", {}),
        ("states of one start", "opencv", {("Loop", "i64", "wrong"): 1}),
        ("states of two starts", "opencv", {}),
        ("scaled rows of a batch", "opencv", {("Scan", "f32", "refused"): 1}),
        ("unequal pads", "cuda", {("ConvTranspose", "f32", "leaves"): 1}),
        ("equal pads", "cuda", {}),
        ("equal pads", "coreml", {("ConvTranspose", "f32", "leaves"): 1}),
        ("pool", "tensorrt", {}),
        ("pool of a series", "tensorrt", {("MaxPool", "f32", "leaves"): 1}),
        ("pool of volumes, spread", "tensorrt", {("MaxPool", "f32", "leaves"): 1}),
        ("pool with places", "tensorrt", {("MaxPool", "f32", "leaves"): 1}),
        ("axes of the file", "tensorrt", {}),
        ("axes of a run", "tensorrt", {("ReduceSum", "f32", "leaves"): 1}),
        ("attention", "tensorrt", {}),
        ("attention with a mask", "tensorrt", {}),
        ("attention with a past", "tensorrt", {("Attention", "f32", "leaves"): 1}),
        ("attention with a cap", "tensorrt", {("Attention", "f32", "leaves"): 1}),
        ("attention of three dimensions", "tensorrt", {("Attention", "f32", "leaves"): 1}),
        ("largest, sorted", "tensorrt", {}),
        ("largest, in any order", "tensorrt", {("TopK", "f32", "leaves"): 1}),
        ("halves", "tensorrt", {}),
    ],
)
def test_nodes(name, runtime, expected):
    inputs, outputs, node = NODES[name]
    weights = "<float fill = {0.5}> " if "fill" in node else ""
    opset = 23 if "Attention" in node else 18
    model = parse(
        f'<ir_version: 10, opset_import: ["" : {opset}]> main ({inputs}) => ({outputs}) {weights}{{ {node} }}'
    )
    counts = found(model, runtime)
    if weights:  # what leaves in a loop is another test's
        counts = Counter({key: count for key, count in counts.items() if key[2] != "leaves"})
    assert counts == expected


@pytest.mark.parametrize(
    ("runtime", "name"), [(runtime, name) for runtime in MINIMAL for name in MINIMAL[runtime]]
)
def test_minimal_files_are_found(runtime, name):
    model, _ = MINIMAL[runtime][name]()
    named = [one for one in findings(model, runtime) if one.minimal == name]
    assert named
    assert {one.happens for one in named} <= {"wrong", "refused"}
    assert name in {known.minimal for known in table_of(runtime).known}


@pytest.mark.parametrize(("source", "leaves"), [("w", 0), ("x", 1)])
def test_weights_that_are_computed_from_weights_are_constant(source, leaves):
    nodes = [
        node("Transpose", [source], ["turned"], perm=[1, 0, 2]),
        node("Slice", ["turned", "first", "end"], ["kernel"]),
        node("ConvTranspose", ["x", "kernel"], ["y"]),
    ]
    weights = {"w": np.ones((2, 3, 3), np.float32), "first": np.int64([0]), "end": np.int64([2])}
    model = build(nodes, {"x": [2, 2, 8]}, {"y": [2, 2, None]}, weights)
    assert found(model, "coreml")[("ConvTranspose", "f32", "leaves")] == leaves


@pytest.mark.parametrize(
    ("kind", "options"),
    [(Saliency, {}), (IntegratedGradients, {"steps": 4}), (VarGrad, {"nb_samples": 3}), (GradCAM, {})],
)
def test_explainers_of_a_network_stay_on_the_accelerators(kind, options, tmp_path):
    kind(emotion.ONNX_FILE, -2, **options).export(tmp_path / "e.onnx")
    for runtime in ("cuda", "directml", "tensorrt"):
        assert found(tmp_path / "e.onnx", runtime) == {}


def test_the_text_counts_nodes_inside_loops(tmp_path):
    IntegratedGradients(digits.ONNX_FILE, -2, 2, steps=4).export(tmp_path / "loop.onnx", "loop")
    counts = found(tmp_path / "loop.onnx", "webgpu")
    assert counts[("Mod", "i64", "leaves")] == 3
    assert not any(happens == "wrong" for _, _, happens in counts)
    text = inspect(tmp_path / "loop.onnx", runtime="webgpu")
    assert f"{sum(counts.values())} of " in text
    assert "    3  Mod i64              no kernel: " in text
    assert "onnxruntime-ep-webgpu 0.4.0" in text


#: A path through a sine, which WebGPU rounds; a mask whose axes are summed over, which OpenVINO refuses.
SINE = """<ir_version: 8, opset_import: ["" : 18]> main (float[N,3] x) => (float[N,3] y) { y = Sin (x) }"""


@pytest.mark.parametrize(
    ("model", "layer", "rendering"),
    [
        (SINE, None, "batch"),
        (SINE, None, "loop"),
        (digits.ONNX_FILE, -2, "batch"),
        (gunpoint.ONNX_FILE, -2, "loop"),
    ],
)
def test_files_say_where_they_are_known_to_be_wrong(model, layer, rendering, tmp_path):
    method = IntegratedGradients(parse(model) if layer is None else model, layer, 2, steps=4)
    method.export(tmp_path / "file.onnx", rendering)
    about = describe({p.key: p.value for p in onnx.load(tmp_path / "file.onnx").metadata_props})
    expected = {}
    for runtime in MINIMAL:
        found = [one for one in findings(tmp_path / "file.onnx", runtime) if one.happens != "leaves"]
        if found:
            expected[runtime] = sorted({f"{one.happens}: {one.node.op_type}, {one.reason}" for one in found})
    assert about.get("runtimes", {}) == expected
    if layer is None:
        reason = "absolute error up to 1.9e-4, which WGSL allows"
        assert expected["webgpu"] == [f"wrong: Cos, {reason}", f"wrong: Sin, {reason}"]


def test_command_line(tmp_path, capsys):
    Saliency(digits.ONNX_FILE, -2).export(tmp_path / "saliency.onnx")
    assert main(["inspect", str(tmp_path / "saliency.onnx"), "--runtime", "cuda"]) == 0
    assert "On cuda: CUDA provider of ONNX Runtime" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "saliency.onnx"), "--runtime", "webgpu", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["runtime"]
    counts = {(one["operator"], one["type"]): len(one["nodes"]) for one in told["findings"]}
    assert sum(counts.values()) == len(findings(tmp_path / "saliency.onnx", "webgpu"))
    assert counts["OneHot", "f32"] == 1
    with pytest.raises(ParameterError, match="unknown runtime 'metal'; there are tables of openvino, webgpu"):
        inspect(tmp_path / "saliency.onnx", runtime="metal")
