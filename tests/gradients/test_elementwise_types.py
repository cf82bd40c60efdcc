"""Types of elementwise results are those of ONNX's own inference, which is not asked for them."""

import itertools

import onnx
import onnx_ir as ir
import pytest

from onnxattr.errors import RuleError
from onnxattr.graph import elementwise, schemas
from onnxattr.graph.values import dims_of

FLOAT, DOUBLE, FLOAT16 = ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16
INT64, INT32, BOOL = ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL
SHAPES = (
    None, [], [1], [3], [0], ["N"], [None], [2, 3], [1, 3], [2, 1], ["N", 3], ["M", 1], ["N", None], [1, "N"],
    [4, 2, 3], ["N", 1, "M"], [None, None, 3],
)  # fmt: skip
DTYPES = dict.fromkeys(("And", "Or", "Xor", "Not"), BOOL)


def value(name: str, dtype: ir.DataType, dims) -> ir.Value:
    shape = None if dims is None else ir.Shape(dims)
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=shape)


def node(op_type: str, shapes, dtypes) -> ir.Node:
    inputs = [value(f"x{k}", *pair) for k, pair in enumerate(zip(dtypes, shapes, strict=True))]
    made = ir.Node("", op_type, inputs)
    made.outputs[0].name = "y"
    return made


def by_inference(made: ir.Node, opset: int):
    """What ONNX says of the output; an error where it finds one."""
    try:
        (found,) = schemas._inferred(made, opset, {})
    except (RuleError, onnx.checker.ValidationError):
        return "error"
    return found if found is None or found[1] is None else (found[0], [*found[1]])


def check(made: ir.Node, opset: int) -> bool:
    """That what is said without inference is what inference says; returns whether anything was."""
    found = elementwise.elementwise(made, opset)
    if found is not None:
        shapes = [dims_of(v) for v in made.inputs]
        assert found == by_inference(made, opset), (made.op_type, shapes)
    return found is not None


def arity(op_type: str) -> int:
    return len(onnx.defs.get_schema(op_type, 18, "").inputs)


@pytest.mark.parametrize("opset", [13, 18, 23])
@pytest.mark.parametrize("op_type", [name for name in sorted(elementwise.OPERATORS) if arity(name) == 1])
def test_one_operand(op_type, opset):
    dtype = DTYPES.get(op_type, FLOAT)
    assert all(check(node(op_type, [dims], [dtype]), opset) for dims in SHAPES)


@pytest.mark.parametrize("op_type", [name for name in sorted(elementwise.OPERATORS) if arity(name) == 2])
def test_two_operands(op_type):
    dtype = DTYPES.get(op_type, FLOAT)
    told = [check(node(op_type, pair, [dtype] * 2), 18) for pair in itertools.product(SHAPES, repeat=2)]
    # The rest clash.
    assert sum(told) > 0.9 * len(told)


@pytest.mark.parametrize("op_type", sorted(elementwise.OPERATORS))
def test_dtypes(op_type):
    """Operands that an operator does not take are left to inference, which refuses them."""
    told = set()
    for dtypes in itertools.product((FLOAT, DOUBLE, FLOAT16, INT64, INT32, BOOL), repeat=arity(op_type)):
        if check(node(op_type, [[2]] * len(dtypes), dtypes), 18):
            told.add(dtypes)
        else:
            assert by_inference(node(op_type, [[2]] * len(dtypes), dtypes), 18) == "error"
    assert told


def test_where():
    told = [
        check(node("Where", shapes, [BOOL, FLOAT, FLOAT]), 18)
        for shapes in itertools.product(SHAPES[1::2], repeat=3)
    ]
    assert sum(told) > 0.7 * len(told)


def test_the_power_has_the_dtype_of_its_base():
    assert check(node("Pow", [["N"], []], [FLOAT, INT64]), 18)


@pytest.mark.parametrize(
    ("op_type", "shapes", "dtypes"),
    [("Add", [[2], [3]], [FLOAT] * 2), ("Neg", [[-1]], [FLOAT]), ("Concat", [[2], [3]], [FLOAT] * 2)],
)
def test_what_inference_has_to_say(op_type, shapes, dtypes):
    assert not check(node(op_type, shapes, dtypes), 18)


def test_operators_whose_operands_had_another_meaning():
    assert not check(node("Add", [[2, 3], [3]], [FLOAT] * 2), 6)
