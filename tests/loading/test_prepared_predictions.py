"""What is explained predicts what the model predicts: compared in ONNX Runtime when a model is prepared."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import parser
from support import small_models
from support.small_models import Small, build, node
from support.tiny_graphs import parse

from onnxattr import Saliency, vjp
from onnxattr.errors import ModelError, ParameterError
from onnxattr.inspection import inspect
from onnxattr.loading.load import load
from onnxattr.loading.prepared import prepare
from onnxattr.loading.verify import verify_model

MODELS = sorted((Path(__file__).parents[2] / "models").glob("*.onnx"))
SMALL = [
    name
    for name, make in vars(small_models).items()
    if getattr(make, "__annotations__", {}).get("return") is Small
]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
@pytest.mark.parametrize("precision", ["model", "float32"])
def test_models_at_hand(path, precision):
    prepare(path, precision=precision, verify=True)


@pytest.mark.parametrize("name", SMALL)
def test_small_models(name):
    model = getattr(small_models, name)().model
    wrt = (
        None
        if any(v.type.tensor_type.elem_type == 1 for v in model.graph.input)
        else model.graph.node[0].output[0]
    )
    prepare(model, wrt=wrt, verify=True)


OLD = '<ir_version: 7, opset_import: ["" : 11]> g (float[N,3,4] x) => (float[N,3,4] y) { NODES }'


def changed(nodes, change):
    """A model of opset 11, prepared and then changed."""
    model = load(parser.parse_model(OLD.replace("NODES", nodes)))
    change(model)
    return model


def other_axis(model):
    for each in model.graph:
        if each.op_type == "Softmax":
            each.attributes["axis"] = ir.AttrInt64("axis", 0)


def other_constant(model):
    for value in model.graph.initializers.values():
        value.const_value = ir.tensor(value.const_value.numpy() * 1.01)


@pytest.mark.parametrize(
    ("nodes", "change", "named"),
    [
        ("a = Sin(x) [soft] b = Softmax<axis = 2>(a) y = Mul(b, a)", other_axis, "Softmax node 'soft'"),
        ("c = Constant<value = float[1] {2.0}>() a = Add(x, c) y = Sin(a)", other_constant, "Add node"),
    ],
)
@pytest.mark.parametrize("verify", ["auto", True])
def test_a_changed_prediction_is_an_error_that_names_the_operator(nodes, change, named, verify):
    model = changed(nodes, change)
    with pytest.raises(ModelError, match=f"(?s)changed its prediction: {named}"):
        verify_model(model, verify)


def test_it_can_be_left_out():
    verify_model(changed("y = Softmax<axis = 2>(x)", other_axis), verify=False)


def test_masks_are_infinite_or_as_low_as_the_type_allows():
    """ONNX Runtime writes the lowest number into the scores where ONNX defines minus infinity."""
    attention = "y, k, v, s = Attention<is_causal = 1, qk_matmul_output_mode = 2>(x, x, x, m, p, p)"
    model = parser.parse_model(
        f"""<ir_version: 11, opset_import: ["" : 23]> g (float[1,2,3,4] x, float[3,5] m, float[1,2,2,4] p)
        => (float[1,2,3,4] y, float[1,2,3,5] s) {{ {attention} }}"""
    )
    vjp(model, ["x"], ["y", "s"], verify=True)


def test_numbers_beside_a_mask_are_compared():
    low = "low = Constant<value = float {-3.4028235e38}>() z = Constant<value = float {0.0}>()"
    masked = f"{low} c = Greater(x, z) [late] b = Softmax<axis = 2>(x) y = Where(c, b, low)"
    with pytest.raises(ModelError, match="changed its prediction: Softmax node 'late'"):
        verify_model(changed(masked, other_axis), True)


@pytest.mark.parametrize(
    "nodes", ["a = RandomNormalLike(x) y = Add(a, x)", "y = Softmax(x)", "y = Hardmax(x)", "y = Dropout(x)"]
)
def test_random_numbers_and_upgrades_pass(nodes):
    vjp(parser.parse_model(OLD.replace("NODES", nodes)), verify=True)


def test_half_precision_between_floats_may_be_rounded_otherwise():
    """As tools leave a model that they convert to float16 but for its inputs and outputs; of 1e-2, here."""
    two = "c = Constant<value = float16[1] {16384}>()"
    verify_model(
        changed(f"{two} h = Cast<to = 10>(x) m = Mul(h, c) y = Cast<to = 1>(m)", other_constant), True
    )


STALE = """<ir_version: 7, opset_import: ["" : 11]>
g (float[1,3,4] x) => (float[?,2] y) <int64[1] first = {0}, int64[1] rest = {-1}> {
  t = Sin(x) s = Shape(t) n = Gather(s, first) sizes = Concat<axis = 0>(n, rest)
  a = Reshape(x, sizes) b = Hardmax(a) c = Max(a, b) d = ReduceSum<axes = [1]>(c) y = MatMul(d, w)
}"""


@pytest.mark.parametrize("verify", ["auto", True])
def test_declared_shapes_that_mislead_the_runtime_are_said(verify):
    """Inner values are declared for one sample: with three, ONNX Runtime's own prediction is of one row."""
    model = parser.parse_model(STALE)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 2), np.float32), "w"))
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    with pytest.warns(UserWarning, match="ONNX Runtime predicts otherwise"):
        gradient = vjp(model, verify=verify)
    x, ct = np.full((3, 3, 4), 2, np.float32), np.ones((3, 2), np.float32)
    found = onnxruntime.InferenceSession(gradient.SerializeToString()).run(None, {"x": x, "y_cotangent": ct})
    np.testing.assert_allclose(found[0], np.full((3, 2), 24))
    np.testing.assert_allclose(found[1], np.full((3, 3, 4), 2))


@pytest.mark.parametrize("transform", ["t = DFT(x)", "t = STFT(x, step, , length)"])
@pytest.mark.parametrize("opset", [17, 18])
def test_transforms_of_no_declared_shape_are_not_drawn(transform, opset):
    """ONNX Runtime ends the process where it transforms an axis that is not there."""
    weights = {"step": np.array(2), "length": np.array(5)}
    nodes = [*parser.parse_graph(f"g () => () {{ {transform} y = Sin(x) }}").node]
    model = build(nodes, {"x": None}, {"y": None, "t": None}, weights, opset=opset)
    vjp(model, outputs="y")
    with pytest.raises(ModelError, match=r"declares no shape of the input 'x'"):
        vjp(model, outputs="y", verify=True)


def test_what_does_not_run_is_said_only_when_asked():
    """The rows of the table end at 0, so that the drawn index 1 is none."""
    model = build(
        [node("Gather", ["t", "i"], ["e"]), node("Mul", ["e", "x"], ["y"])],
        {"i": (["N"], onnx.TensorProto.INT64), "x": ["N", 2]},
        {"y": ["N", 2]},
        {"t": np.ones((1, 2), np.float32)},
        opset=13,
    )
    vjp(model)
    with pytest.raises(ModelError, match=r"verify=True .*: the model could not be compared"):
        vjp(model, verify=True)
    for use in (lambda **given: inspect(model, **given), lambda **given: Saliency(model, wrt="x", **given)):
        use(verify="auto")
        with pytest.raises(ModelError, match="could not be compared"):
            use(verify=True)


def test_sizes_of_minus_one_are_free():
    """As Paddle's converter writes them."""
    model = parser.parse_model(OLD.replace("NODES", "t = Tanh(x) y = Mul(t, x)"))
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = -1
    assert vjp(model, verify=True).graph.output[-1].name == "x_gradient"


@pytest.mark.parametrize("verify", ["yes", 1, None])
def test_other_choices(verify):
    model = small_models.mlp().model
    for use in (vjp, prepare, Saliency, inspect):
        with pytest.raises(ParameterError, match="verify="):
            use(model, verify=verify)


def test_a_loop_of_no_step_is_named_as_what_is_empty():
    """The size of what it stacks is known to onnxattr, and 0 to ONNX Runtime, that does not look so far."""
    body = "body = b (int64 i, bool c, float[?,3] s) => (bool d, float[?,3] r, float[?,3] e)"
    nodes = "{ d = Identity(c) r = Tanh(s) e = Sin(s) }"
    model = parse(
        f"""g (float[1,3] x) => (float[?,?] y) <int64 n = {{0}}, bool t = {{1}}>
        {{ [none] z, o = Loop <{body} {nodes}> (n, t, x) s = ReduceSum<axes = [0], keepdims = 0>(o) y = Add(s, x) }}""",
        opset=11,
    )
    with pytest.raises(
        ModelError, match=r"Loop node 'none' gives another result, which is empty.*takes no step"
    ):
        vjp(model, verify=True)
