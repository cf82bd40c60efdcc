"""What is known of values before a model runs holds when it runs: a guard that is left out is never missed."""

import itertools

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper
from support.tiny_graphs import parse, run

from onnxattr.graph.intervals import Range, range_of_array
from onnxattr.graph.ranges import Ranges

INF, NAN = np.inf, np.nan
#: Operands of every kind: mixed, positive, not negative, negative, in bounds, whole, large, infinite, with NaN.
KINDS = [
    [-1.5, -0.25, 0.75, 2],
    [0.5, 1, 3, 2],
    [0, 0.5, 1, 3],
    [-2, -1, -0.5, -3],
    [-1, 1, 0.5, 0],
    [2, 2, 2, 2],
    [0, 0, 0, 0],
    [1, 2, 3, -2],
    [-200, 200, 90, -90],
    [-INF, 0, 1, -1],
    [INF, 0.5, 1, 2],
    [NAN, 0.5, 1, 2],
    [-INF, -INF, -INF, -INF],
]
UNARY = """
Abs Acos Acosh Asin Asinh Atan Atanh Cos Cosh Elu Erf Exp Floor HardSigmoid HardSwish Identity LeakyRelu Log LogSoftmax
Mish Neg Reciprocal Relu Selu Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh ReduceL1 ReduceL2
ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
""".split()
BINARY = ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Concat", "Sum", "Mean", "Clip", "PRelu"]
UNIVERSAL = (
    "g (float[4] x, float[4] y) => (float[4] z)"
    " <float zero = {0}, float one = {1}, float tiny = {1e-9}, float three = {3}> "
)
GUARDED = [
    "c = Greater(x, zero) w = Where(c, x, one) z = Log(w)",
    "c = Less(x, zero) n = Not(c) w = Where(n, x, one) z = Sqrt(w)",
    "c = Equal(x, zero) w = Where(c, one, x) z = Div(y, w)",
    "c = IsNaN(x) z = Where(c, one, x)",
    "c = IsInf(x) w = Where(c, one, x) d = IsNaN(w) z = Where(d, one, w)",
    "c = LessOrEqual(x, one) d = Greater(x, zero) b = And(c, d) w = Where(b, x, one) z = Log(w)",
    "c = Less(x, zero) d = Equal(x, zero) b = Or(c, d) w = Where(b, one, x) z = Log(w)",
    "m = ReduceMax(x) d = Sub(x, m) e = Exp(d) s = ReduceSum(e) z = Div(e, s)",
    "m = ReduceMean(x) d = Sub(x, m) e = Mul(d, d) v = ReduceMean(e) s = Add(v, one) r = Sqrt(s) z = Div(d, r)",
    "p = Mul(x, x) a = Add(p, one) l = Log(a) z = Div(y, a)",
    "n = ReduceL2(x) c = Clip(n, one) z = Div(x, c)",
    "s = Sigmoid(x) a = Add(s, one) b = Add(a, s) l = Log(b) c = Add(l, one) z = Reciprocal(c)",
    "e = Exp(x) a = Add(e, one) z = Reciprocal(a)",
    "a = Abs(x) b = Add(a, one) z = Div(x, b)",
    "c = Min(x, zero) e = Exp(c) a = Add(e, one) z = Log(a)",
    "p = Pow(x, y) a = Abs(p) z = Sqrt(a)",
]
#: Where numbers that are not 0 become 0, as those below 1e-45 do in float32.
LOST = [
    "m = Sigmoid(x) d = Sub(m, tiny) e = Sub(d, one) z = Neg(e)",
    "c = Clip(x, tiny, one) p = Mul(c, tiny) q = Mul(p, tiny) z = Mul(q, q)",
    "c = Clip(x, tiny, one) h = Cast<to = 10>(c) z = Cast<to = 1>(h)",
    "c = Equal(x, zero) w = Where(c, one, x) z = Mul(w, w)",
    "c = Equal(x, zero) w = Where(c, one, x) z = Mul(w, tiny)",
    "c = Equal(x, zero) w = Where(c, one, x) z = ReduceSumSquare(w)",
    "c = Clip(x, tiny, one) p = Pow(c, three) z = Pow(p, three)",
    "c = Equal(x, zero) w = Where(c, one, x) z = Pow(w, three)",
]


def holds(known: Range, array: np.ndarray) -> bool:
    """Whether an array holds nothing that its range leaves out."""
    found = range_of_array(array)
    numbers = array[np.isfinite(array)]
    slack = 1e-6 * np.abs(numbers)
    inside = (numbers >= known.low - slack).all() and (numbers <= known.high + slack).all()
    flags = all(getattr(known, name) or not getattr(found, name) for name in ("below", "above", "nan"))
    return bool(inside and flags and not (known.nonzero and (array == 0).any()))


def check(model: onnx.ModelProto, arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    del model.graph.input[:]
    inner = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model = onnx.shape_inference.infer_shapes(model)
    types = {value.name: value.type for value in model.graph.value_info}
    model.graph.output.extend(helper.make_value_info(name, types[name]) for name in inner)
    results, ranges = run(model), Ranges()
    for node in ir.serde.deserialize_model(model).graph:
        for value in node.outputs:
            if results[value.name].dtype.kind == "f":
                assert holds(ranges(value), results[value.name]), (
                    value.name,
                    ranges(value),
                    results[value.name],
                )


def arrays(*kinds: list[float]) -> dict[str, np.ndarray]:
    return {name: np.array(kind, np.float32) for name, kind in zip("xy", kinds, strict=False)}


@pytest.mark.parametrize("operator", UNARY)
def test_operators_of_one_operand(operator):
    for kind in KINDS:
        check(parse(f"g (float[4] x) => (float[4] z) {{ z = {operator}(x) }}"), arrays(kind))


@pytest.mark.parametrize("operator", BINARY)
def test_operators_of_two_operands(operator):
    attributes = "<axis = 0>" if operator == "Concat" else ""
    for a, b in itertools.product(KINDS, KINDS):
        b = b[0] if operator == "Clip" else b
        if not (operator == "Clip" and np.isnan(b)):
            model = parse(
                f"g (float[4] x, float[4] y) => (float[4] z) {{ z = {operator}{attributes}(x, y) }}"
            )
            check(model, arrays(a, b))


@pytest.mark.parametrize("body", GUARDED)
def test_guards(body):
    for a, b in itertools.product(KINDS, [[-1, 0.5, 2, 3], [0, 1, 2, 3]]):
        check(parse(f"{UNIVERSAL} {{ {body} }}"), arrays(a, b))


@pytest.mark.parametrize("body", LOST)
@pytest.mark.parametrize(
    "x", [[-200, 200, 0, 1], [1e-38, 1e-23, 1e-9, -1], [-1e-30] * 4], ids=["large", "small", "tiny"]
)
def test_small_numbers_are_lost(body, x):
    check(parse(f"{UNIVERSAL} {{ {body} }}"), arrays(x, x))


@pytest.mark.parametrize("body", [body for body in GUARDED if "Exp(d)" not in body and "Pow" not in body])
def test_guards_are_understood(body):
    """From finite operands each of these gives finite numbers, and it is known."""
    model = parse(f"{UNIVERSAL} {{ {body} }}")
    (z,) = ir.serde.deserialize_model(model).graph.outputs
    assert Ranges()(z).finite
