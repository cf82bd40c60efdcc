"""Types of results that are told without ONNX's inference are those that it gives."""

import itertools

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxattr.errors import RuleError
from onnxattr.graph import moved_types, schemas

FLOAT, DOUBLE, INT64, BOOL = ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT64, ir.DataType.BOOL
SHAPES = (
    None, [], [1], [3], [0], ["N"], [None], [2, 3], [1, 3], [3, 1], ["N", 3], [3, "M"], ["N", None], [1, "N"],
    [4, 2, 3], [4, 3, 2], ["N", 1, "M"], [None, 3, 2], ["N", "N", 1], [1, 1, 1], [2, 3, 4, 5],
)  # fmt: skip
AXES = ([0], [1], [-1], [0, 2], [2, 0], [-1, 0], [], [0, 0], [5], [1, -4])
TARGETS = ([6], [-1], [2, 3], [3, -1], [0, -1], [-1, 1, 3], [1], [], [4, -1, 2], [-1, -1], [0], [7])


def value(name: str, dtype, dims) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=None if dims is None else ir.Shape(dims))


def constant(name: str, numbers) -> ir.Value:
    array = np.array(numbers, np.int64)
    made = value(name, INT64, array.shape)
    made.const_value = ir.Tensor(array)
    return made


def check(op_type: str, inputs, opset: int = 18, **attributes) -> bool:
    """That what is told is what inference says; returns whether anything was."""
    node = ir.node(op_type, inputs, attributes)
    node.outputs[0].name = "y"
    found = moved_types.moved(node, opset)
    if found is None:
        return False
    arrays = {v.name: v.const_value.numpy() for v in inputs if v.const_value is not None}
    try:
        (told,) = schemas._inferred(node, opset, arrays)
    except (RuleError, onnx.checker.ValidationError) as error:
        raise AssertionError(f"{op_type} of {[v.shape for v in inputs]}: {error}") from error
    expected = told and (told[0], None if told[1] is None else [*told[1]])
    assert found == expected, (op_type, [v.shape for v in inputs], arrays, attributes)
    return True


def x(dims, dtype=FLOAT, name="x") -> ir.Value:
    return value(name, dtype, dims)


@pytest.mark.parametrize("opset", [13, 18, 23])
@pytest.mark.parametrize("dtype", [FLOAT, BOOL, INT64])
def test_one_operand(opset, dtype):
    told = [check("Transpose", [x(dims, dtype)], opset) for dims in SHAPES]
    told += [
        check("Transpose", [x(dims, dtype)], opset, perm=p) for dims in SHAPES for p in ([1, 0], [2, 0, 1])
    ]
    told += [check("Cast", [x(dims, dtype)], opset, to=to) for dims in SHAPES for to in (1, 7, 9, 10, 16)]
    told += [check("Shape", [x(dims, dtype)], opset) for dims in SHAPES]
    assert sum(told) > 100


@pytest.mark.parametrize("to", [0, 99, -(2**31)])
def test_numbers_of_no_type(to):
    assert moved_types.moved(ir.node("Cast", [x([2])], {"to": to}), 18) is None


@pytest.mark.parametrize(
    "bounds", [(0, 1), (1, None), (-1, None), (0, -1), (-9, 9), (2, 1), (1, 3), (-2, -1)]
)
def test_parts_of_shapes(bounds):
    given = {key: bound for key, bound in zip(("start", "end"), bounds, strict=True) if bound is not None}
    assert sum(check("Shape", [x(dims)], **given) for dims in SHAPES) == len(SHAPES) - 1


@pytest.mark.parametrize("opset", [13, 18, 23])
@pytest.mark.parametrize("op_type", ["Squeeze", "Unsqueeze", "ReduceSum"])
def test_axes(op_type, opset):
    pairs = list(itertools.product(SHAPES, AXES))
    told = [check(op_type, [x(dims), constant("axes", axes)], opset) for dims, axes in pairs]
    if op_type == "ReduceSum":
        told += [check(op_type, [x(d), constant("axes", a)], opset, keepdims=0) for d, a in pairs]
    assert sum(told) > 12
    assert not check(op_type, [x([1, 2]), value("axes", INT64, [1])], opset)


@pytest.mark.parametrize("opset", [13, 18, 23])
@pytest.mark.parametrize("op_type", ["Reshape", "Expand"])
def test_targets(op_type, opset):
    told = [
        check(op_type, [x(dims), constant("shape", target)], opset)
        for dims, target in itertools.product(SHAPES, TARGETS)
    ]
    assert sum(told) > 30
    assert not check(op_type, [x([1, 2]), value("shape", INT64, [1])], opset)
    if opset > 13 and op_type == "Reshape":
        assert all(
            check(op_type, [x([2, 3]), constant("shape", target)], opset, allowzero=1)
            for target in ([6], [3, -1])
        )


@pytest.mark.parametrize("axis", [0, 1, -1, 3])
def test_concat(axis):
    told = [
        check("Concat", [x(a), x(b, name="z")], axis=axis) for a, b in itertools.product(SHAPES, repeat=2)
    ]
    told += [check("Concat", [x(a)], axis=axis) for a in SHAPES]
    told += [check("Concat", [x(a), x(a, name="z"), x(a, name="w")], axis=axis) for a in SHAPES]
    assert any(told)
    assert not check("Concat", [x([2]), x([2], DOUBLE, "z")], axis=0)


@pytest.mark.parametrize("dtype", [FLOAT, DOUBLE, INT64])
def test_products(dtype):
    told = [check("MatMul", [x(a, dtype), x(b, dtype, "z")]) for a, b in itertools.product(SHAPES, repeat=2)]
    assert sum(told) > 10
    assert not check("MatMul", [x([2, 2]), x([2, 2], DOUBLE, "z")])


def test_dtypes_that_are_refused():
    assert not check("MatMul", [x([2, 2], BOOL), x([2, 2], BOOL, "z")])
    assert not check("ReduceSum", [x([2, 2], BOOL), constant("axes", [0])])
