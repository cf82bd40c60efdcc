"""The evaluator's corrected operators are ONNX Runtime's, and onnx's own are not."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from support.small_models import build, node
from support.tiny_graphs import parse

from onnxattr.testing import check_vjp
from onnxattr.testing.evaluator import CORRECTED

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


#: Operator, attributes, shape of x, other operands, opset.
CASES = {
    "BatchNormalization before opset 14": (
        "BatchNormalization",
        {},
        (2, 3, 4),
        [normal(3), normal(3), normal(3), abs(normal(3))],
        9,
    ),
    "LRN of channels": ("LRN", {"size": 3, "alpha": 0.5}, (1, 5, 2, 2), [], 18),
    "GatherElements of fewer rows": ("GatherElements", {"axis": 1}, (3, 4), [np.array([[2, 0, 3]])], 18),
    "ConvTranspose in groups": (
        "ConvTranspose",
        {"group": 2, "strides": [2]},
        (1, 4, 5),
        [normal(4, 3, 2)],
        18,
    ),
    "Pad that crops": ("Pad", {}, (5,), [np.array([-1, 2])], 18),
    "GlobalMaxPool of signals": ("GlobalMaxPool", {}, (2, 3, 6), [], 18),
    "Softmax of rows before opset 13": ("Softmax", {"axis": 1}, (2, 3, 4), [], 12),
    "LogSoftmax of rows before opset 13": ("LogSoftmax", {"axis": -2}, (2, 3, 4), [], 11),
    "Hardmax of rows before opset 13": ("Hardmax", {}, (2, 3, 4), [], 9),
}


@pytest.mark.parametrize(("op", "attributes", "shape", "others", "opset"), CASES.values(), ids=CASES)
def test_corrected_operator(op, attributes, shape, others, opset):
    names = [f"operand{i}" for i in range(len(others))]
    weights = dict(zip(names, others, strict=True))
    model = build(
        [node(op, ["x", *names], ["y"], **attributes)], {"x": list(shape)}, {"y": None}, weights, opset
    )
    x = {"x": normal(*shape)}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, x)
    (found,) = ReferenceEvaluator(model, new_ops=[*CORRECTED]).run(None, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    try:
        (own,) = ReferenceEvaluator(model).run(None, x)
    except (ValueError, IndexError, RuntimeError):
        return
    assert own.shape != expected.shape or np.abs(own - expected).max() > 1e-3


@pytest.mark.parametrize(
    "body",
    [
        "c = Constant<value_float=2.5>() y = Mul(x, c)",
        "c = Constant<value_floats=[1.0, 2.0, 3.0]>() h = Mul(x, c) y = Mul(h, h)",
        "t = Constant<value=bool {1}>() y = If(t) <then_branch = a () => (float[N,3] p) { "
        "c = Constant<value_float=3.0>() p = Mul(x, c) }, else_branch = b () => (float[N,3] q) { q = Tanh(x) }>",
    ],
    ids=["a number", "numbers", "inside a branch"],
)
def test_constants_of_numbers_are_taken_to_float64(body):
    model = parse(f"g (float[N,3] x) => (float[N,3] y) {{ {body} }}")
    assert check_vjp(model, {"x": normal(2, 3)}) < 1e-8


def test_functions_of_a_model_are_taken_to_float64():
    model = parse("g (float[N,3] x) => (float[N,3] y) { y = own.Rows(x) }", domains="own")
    body = "i = Shape(x) f = Cast<to=1>(i) n = ReduceMax(f) y = Mul(x, n)"
    rows = f'<opset_import: ["": 18], domain: "own"> Rows (x) => (y) {{ {body} }}'
    model.functions.append(onnx.parser.parse_function(rows))
    assert check_vjp(model, {"x": normal(2, 3)}) < 1e-8
