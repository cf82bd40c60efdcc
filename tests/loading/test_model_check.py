"""The gradient of a model at hand against slopes of what its file predicts."""

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, parser
from support.command_line import cli_folder, run  # noqa: F401
from support.small_models import SMALL, build, embedding, mlp, node, random

from onnxattr import Saliency, load
from onnxattr.autodiff.standard import STANDARD
from onnxattr.errors import OnnxAttrError
from onnxattr.inspection.overview import inspect
from onnxattr.testing import check_model

VECTOR = {"x": ["N", 4]}, {"y": ["N", 4]}
MICROSOFT = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("drawn", [False, True])
def test_gradients_are_slopes(name, drawn):
    model = SMALL[name]()
    wrt = ["embedded"] if name == "embedding" else None
    found = check_model(model.model, None if drawn else model.given, wrt=wrt)
    assert {slope.name for slope in found.slopes} == set(wrt or model.inputs)
    for slope in found.slopes:
        assert slope.verdict == "agrees"
        assert slope.difference < 1e-6
        assert slope.single < 1e-5
    assert found.agrees
    assert found.arithmetic == "evaluator"
    assert found.prediction < 1e-6


WRONG = {
    "twice": lambda op, node, ct: (op.Mul(ct, op.Mul(2.0, op.Sub(1.0, op.Mul(node.y, node.y)))),),
    "1 % too large": lambda op, node, ct: (op.Mul(ct, op.Mul(1.01, op.Sub(1.0, op.Mul(node.y, node.y)))),),
    "nothing": lambda op, node, ct: (op.Mul(ct, 0.0),),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_differs(name):
    model = build([node("Tanh", ["x"], ["y"])], *VECTOR)
    x = np.array([[0.1, -0.7, 0.4, 1.2]], np.float32)
    found = check_model(model, x, rules=STANDARD | {"Tanh": WRONG[name]})
    assert found.slopes[0].verdict == "differs"
    assert not found.agrees
    assert found.slopes[0].difference > 5e-3
    assert "x      " in str(found)
    assert "differs" in str(found)


def sigmoid_of(scale):
    """A sigmoid of a product, which is saturated where the scale is large."""
    nodes = [node("Mul", ["x", "scale"], ["z"]), node("Sigmoid", ["z"], ["y"])]
    return build(nodes, *VECTOR, {"scale": np.float32(scale)})


def quantised():
    """x rounded to steps of 0.5, times itself."""
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"]), node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        node("Mul", ["d", "d"], ["y"]),
    ]  # fmt: skip
    return build(nodes, *VECTOR, {"scale": np.float32(0.5), "zero": np.uint8(128)})


def above(threshold):
    """relu((x / 10) * 10 - threshold), which is 0 in float32 where float64 sees the rounding of 1 / 10."""
    nodes = [
        node("Mul", ["x", "tenth"], ["t"]), node("Mul", ["t", "ten"], ["z"]), node("Sub", ["z", threshold], ["d"]),
        node("Relu", ["d"], ["y"]),
    ]  # fmt: skip
    weights = {"tenth": np.float32(0.1), "ten": np.float32(10), "one": np.float32(1)}
    return build(nodes, {"x": ["N", 16]}, {"y": ["N", 16]}, weights)


RELU = build([node("Relu", ["x"], ["y"])], *VECTOR)
NOTHING = build([node("Mul", ["x", "zero"], ["y"])], *VECTOR, {"zero": np.float32(0)})
VERDICTS = {
    "a kink": (RELU, np.zeros((1, 4)), "agrees beside the inputs", "kink"),
    "saturated": (sigmoid_of(1.0), np.full((1, 4), 60.0), "too small to tell", "before the softmax"),
    "roundings": (quantised(), np.array([[0.3, 1.2, -0.6, 2.1]]), "differs", "rounds (QuantizeLinear)"),
    "a decision that float32 cannot make": (above("x"), np.ones((1, 16)), "differs in float32", ""),
    "a decision that a rounding makes": (
        above("one"),
        np.ones((1, 16)),
        "agrees",
        "where inputs change by 1e-6",
    ),
    "no slope": (NOTHING, np.ones((1, 4)), "is 0, as slopes are", "nothing changes the outputs"),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_verdicts(case):
    model, x, verdict, said = VERDICTS[case]
    found = check_model(model, x.astype(np.float32))
    assert found.slopes[0].verdict == verdict
    assert said in str(found)
    assert found.agrees == (not verdict.startswith("differs"))


#: What onnx's evaluator computes otherwise than ONNX Runtime: another order, scores before the soft cap.
OTHERWISE = {
    "an order that is free": (18, "k = Constant<value_ints = [4]>() y, i = TopK<sorted = 0>(x, k)"),
    "scores beside attention": (
        23,
        """s = Constant<value_ints = [1, 2, 3, 4]>() q = Reshape(x, s)
        o, k, v, y = Attention<softcap = 0.8, qk_matmul_output_mode = 0>(q, q, q)""",
    ),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_what_the_evaluator_computes_otherwise_is_compared_in_the_runtime(case):
    opset, nodes = OTHERWISE[case]
    model = parser.parse_model(
        f"""<ir_version: 11, opset_import: ["" : {opset}]> g (float[2,12] x) => (float y) {{ {nodes} }}"""
    )
    found = check_model(model, 3 * random(0, 2, 12))
    assert (found.arithmetic, found.slopes[0].verdict) == ("onnxruntime", "agrees")
    assert "evaluator predicts otherwise" in str(found)


LATE = """first = Constant<value_ints = [30]>() end = Constant<value_ints = [1000]>()
    axis = Constant<value_ints = [1]>() late = Slice(x, first, end, axis)"""
#: Models of sound and series that run on many steps alone. Without a step ONNX Runtime would end the process.
LONG = {
    "reflected at its ends": 'p = Constant<value_ints = [0, 20, 0, 20]>() y = Pad<mode = "reflect">(x, p)',
    "a Scan behind the first steps": f"""{LATE} zero = Constant<value_floats = [0.0]>()
        h, y = Scan<num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1], body =
        step (float[1] before, float[n] now) => (float[1] after, float[n] out) {{
            m = ReduceSum<keepdims = 1>(now) s = Add(before, m) after = Tanh(s) out = Mul(now, after) }}
        >(zero, late)""",
    "a GRU behind the first steps": f"""{LATE} zero = Constant<value_ints = [0]>() two = Constant<value_ints = [2]>()
        w = Constant<value = float[1,3,1] {{0.5, -0.3, 0.8}}>() e = Unsqueeze(late, two)
        t = Transpose<perm = [1, 0, 2]>(e) h, last = GRU<hidden_size = 1>(t, w, w) k = Squeeze(last, zero)
        y = Mul(k, k)""",
    "an LSTM behind the first steps": f"""{LATE} zero = Constant<value_ints = [0]>() two = Constant<value_ints = [2]>()
        w = Constant<value = float[1,4,1] {{0.5, -0.3, 0.8, 0.4}}>() e = Unsqueeze(late, two)
        t = Transpose<perm = [1, 0, 2]>(e) h, last = LSTM<hidden_size = 1>(t, w, w) k = Squeeze(last, zero)
        y = Mul(k, k)""",
    "an Einsum behind the first steps": f"""{LATE} y = Einsum<equation = "ij,kj->ik">(late, late)""",
}


@pytest.mark.parametrize("case", LONG)
def test_models_that_run_on_many_steps_alone(case, tmp_path):
    header = """<ir_version: 8, opset_import: ["" : 17]> g (float[N,T] x) => (float[N,S] y)"""
    model = parser.parse_model(f"{header} {{ {LONG[case]} }}")
    assert [slope.verdict for slope in check_model(model).slopes] == ["agrees"]
    short = np.ones((2, 5), np.float32)
    with pytest.raises(OnnxAttrError, match=r"no element|could not run|too small"):
        check_model(model, short)
    Saliency(model).export(tmp_path / "explainer.onnx")
    for explainer in (Saliency(model), load(tmp_path / "explainer.onnx")):
        with pytest.raises(
            OnnxAttrError, match=r"too small for the model: the \w+ node .* no element|could not run"
        ):
            explainer(short, [0, 0])
        with pytest.raises(OnnxAttrError, match=r"too small for the model|could not run"):
            explainer.predict(short)
    assert "Cost (measured)" in inspect(model, measured=True)


def test_wide_inputs_are_drawn_in_more_rows_than_one():
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]> g (float[N,70000] x) => (float[2,S] y)
        { axis = Constant<value_ints = [1]>() m = ReduceMean<keepdims = 0>(x, axis) two = Constant<value_ints = [2]>()
          z, i = TopK(m, two) y = Unsqueeze(z, axis) }""")
    assert [slope.verdict for slope in check_model(model).slopes] == ["agrees"]


def test_sizes_that_no_draw_finds():
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]> g (float[N,T] x) => (float[N,7,S] y)
        { s = Constant<value_ints = [0, 7, 111]>() y = Reshape(x, s) }""")
    with pytest.raises(OnnxAttrError, match="Give samples: a file behind the model"):
        check_model(model)


def test_what_the_evaluator_lacks_is_compared_in_the_runtime():
    model = build([node("Gelu", ["x"], ["y"], domain="com.microsoft")], *VECTOR, opset_imports=MICROSOFT)
    found = check_model(model, np.array([[0.1, -0.7, 0.4, 1.2]], np.float32))
    assert (found.arithmetic, found.slopes[0].verdict) == ("onnxruntime", "agrees")
    assert found.slopes[0].difference < 2e-3
    assert math.isnan(found.slopes[0].single)
    assert str(found).splitlines()[1].split()[2:] == ["-", "agrees"]
    assert "evaluator cannot run them" in str(found)
    wrong = STANDARD | {"Erf": lambda op, node, ct: (op.Mul(ct, 0.5),)}
    assert not check_model(model, np.array([[0.1, -0.7, 0.4, 1.2]], np.float32), rules=wrong).agrees


def half():
    """A model that casts to float16 and back."""
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
    ]
    return build(nodes, *VECTOR)


def of_text():
    """x scaled, plus the code of a text."""
    codes = {"keys_strings": ["Rome", "Oslo"], "values_floats": [1.0, 2.0], "default_float": 0.0}
    nodes = [
        node("LabelEncoder", ["city"], ["code"], domain="ai.onnx.ml", **codes),
        node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[1.0], scale=[3.0]),
        node("Add", ["s", "code"], ["y"]),
    ]  # fmt: skip
    domains = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    inputs = {"x": ["N", 1], "city": (["N", 1], TensorProto.STRING)}
    return build(nodes, inputs, {"y": ["N", 1]}, opset_imports=domains)


def test_tables_with_text_are_compared_in_the_runtime():
    rows = {"x": np.array([[0.5], [2.0]], np.float32), "city": np.array([["Rome"], ["Bonn"]], object)}
    found = check_model(of_text(), rows)
    assert [(slope.name, slope.verdict) for slope in found.slopes] == [("x", "agrees")]
    assert "as operators of ai.onnx.ml give float32" in str(found)
    assert str(found).splitlines()[1].split()[2:] == ["-", "agrees"]


DRAWN = build([node("RandomNormalLike", ["x"], ["r"]), node("Add", ["x", "r"], ["y"])], *VECTOR)
REFUSED = {
    "random numbers": (DRAWN, {}, "draws random numbers"),
    "half precision": (half(), {}, "half precision"),
    "integers": (embedding().model, {}, "embedded"),
    "text without rows": (of_text(), {}, r"text in \['city'\], which is not drawn: give a file of rows"),
    "unknown value": (mlp().model, {"wrt": ["nothing"]}, "'nothing'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    model, given, said = REFUSED[case]
    with pytest.raises(OnnxAttrError, match=said):
        check_model(model, **given)


def test_outputs_are_values_too():
    """A saturated softmax hides the slope; the logits before it have one."""
    model = mlp(head="Softmax")
    first = model.model.graph.node[-1].input[0]
    assert check_model(model.model, model.given, outputs=[first]).slopes[0].difference < 1e-6


def test_the_command_prepares_a_model_once(cli_folder, capsys, monkeypatch):  # noqa: F811
    monkeypatch.setattr("onnxattr.testing.model_check.prepare", None)
    assert run(capsys, "check", "two.onnx", "two.npz")[0] == 0


def test_command_line(cli_folder, capsys):  # noqa: F811
    for arguments in (["mlp.onnx"], ["images.onnx", "images.npy"], ["two.onnx", "two.npz"]):
        status, out, err = run(capsys, "check", *arguments)
        assert (status, err) == (0, "")
        assert out.splitlines()[0].split() == ["input", "slopes", "float32", "gradient"]
        assert out.splitlines()[1].endswith("agrees")
    assert run(capsys, "check", "tokens.onnx", "tokens.npy", "--wrt", "embedded")[0] == 0
    assert run(capsys, "convert", "images.onnx", "--preprocess", "0..1", "-o", "photos.onnx")[0] == 0
    assert run(capsys, "check", "photos.onnx")[1].splitlines()[1].split()[0] == "pixels"
    onnx.save(quantised(), "steps.onnx")
    np.save("steps.npy", random(3, 2, 4))
    status, out, err = run(capsys, "check", "steps.onnx", "steps.npy")
    assert (status, err) == (4, "")
    assert "differs" in out
    status, _, err = run(capsys, "check", "mlp.onnx", "--directions", 0)
    assert status == 2
    assert "expected 1 or more" in err
