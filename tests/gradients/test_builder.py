"""OpBuilder: literals, dtypes, folding, names, shapes, errors."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from onnxattr.errors import RuleError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of, is_constant, same_dims

FLOAT, DOUBLE, INT64 = ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT64


def builder(opset: int = 18) -> OpBuilder:
    return OpBuilder(ir.Graph([], [], nodes=[], opset_imports={"": opset}, name="graph"), opset)


def evaluate(op: OpBuilder, value: ir.Value, **feeds: np.ndarray) -> np.ndarray:
    if not op.graph.outputs:
        op.graph.outputs.append(value if value.producer() else op.Identity(value))
    proto = ir.serde.serialize_model(ir.Model(op.graph, ir_version=8))
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def operators(op: OpBuilder) -> list[str]:
    return [node.op_type for node in op.graph]


# Literals


@pytest.mark.parametrize("dtype", [ir.DataType.FLOAT16, FLOAT, DOUBLE, INT64])
@pytest.mark.parametrize("order", [1, -1])
def test_literals_take_the_dtype_of_the_other_operand(dtype, order):
    op = builder()
    x = op.input("x", dtype, [3])
    y = op.Mul(*(x, 2)[::order])
    assert y.dtype == dtype
    array = np.array([1, 2, 3], dtype.numpy())
    np.testing.assert_array_equal(evaluate(op, y, x=array), 2 * array)


def test_literals_follow_the_operand_of_their_own_type():
    """The branches of a Where share a type; its condition has another."""
    op = builder()
    condition, x = op.input("c", ir.DataType.BOOL, [3]), op.input("x", DOUBLE, [3])
    y = op.Where(condition, x, 0.5)
    assert y.dtype == DOUBLE
    assert op.Where(condition, 0.5, 0.0).dtype == FLOAT
    assert op.ReduceSum(x, [0], keepdims=0).dtype == DOUBLE


def test_integer_literals_without_a_partner_are_int64():
    op = builder()
    x = op.input("x", FLOAT, [2, 3])
    op.Reshape(x, [3, 2])
    op.Unsqueeze(x, [])
    assert {value.dtype for value in op.graph.initializers.values()} == {INT64}


def test_equal_constants_are_shared():
    op = builder()
    x, z = op.input("x", FLOAT, [3]), op.input("z", DOUBLE, [3])
    op.Mul(x, 2.0), op.Add(x, 2.0), op.Mul(z, 2.0), op.Add(x, np.float32(2)), op.Add(x, [2.0])
    shapes = sorted((str(v.dtype), tuple(v.shape)) for v in op.graph.initializers.values())
    assert shapes == [("DOUBLE", ()), ("FLOAT", ()), ("FLOAT", (1,))]


def test_negative_zero_and_zero_are_different_constants():
    op = builder()
    assert op.constant(0.0) is not op.constant(-0.0)


def test_omitted_operands_and_attributes():
    op = builder()
    x = op.input("x", FLOAT, [3])
    y = op.Clip(x, None, 1.0)
    assert [v if v is None else v.name for v in y.producer().inputs] == ["x", None, "grad/const"]
    assert list(op.Softmax(x, axis=None).producer().attributes) == []


# Folding


def test_arithmetic_on_known_shapes_leaves_no_nodes():
    op = builder()
    x = op.input("x", FLOAT, [2, 3, 4])
    shape = op.shape(x)
    size = op.ReduceProd(op.Slice(shape, [1], [3]), keepdims=0)
    assert operators(op) == []
    assert size.const_value.numpy() == 12
    target = op.Concat(op.Mul(op.Gather(shape, [0]), 3), [-1], axis=0)
    np.testing.assert_array_equal(target.const_value.numpy(), [6, -1])
    assert tuple(op.Reshape(x, target).shape) == (6, 4)


def test_only_the_unknown_part_of_a_shape_is_computed():
    op = builder()
    x = op.input("x", FLOAT, ["N", 3, 4])
    assert op.shape(x, 1).const_value.numpy().tolist() == [3, 4]
    assert op.shape(x, 0, 1).const_value is None
    assert operators(op) == ["Shape"]


def test_floats_and_large_integers_are_not_folded():
    op = builder()
    weights = op.constant(np.ones((8, 8), np.float32))
    assert op.Transpose(weights).const_value is None
    positions = op.constant(np.arange(5000))
    assert op.Add(positions, 1).const_value is None
    assert operators(op) == ["Transpose", "Add"]


def test_folded_nodes_leave_no_trace_on_their_inputs():
    op = builder()
    shape = op.constant([2, 3], INT64)
    op.Add(shape, 1)
    assert list(shape.uses()) == []


def test_what_the_runtime_can_fold():
    op = builder()
    x, w = op.input("x", FLOAT, [3]), op.constant(np.ones(3, np.float32))
    assert is_constant(w)
    assert is_constant(op.Mul(op.Neg(w), 2.0))
    assert not is_constant(x)
    assert not is_constant(op.Mul(w, x))
    assert not is_constant(op.RandomUniform(shape=[3]))


# Sizes

DIMS = {
    "ints": (lambda op, x: [4, -1], (4, 6), []),
    "a size among ints": (lambda op, x: [op.size(x, 1), -1], (3, 8), []),
    "a dynamic size": (lambda op, x: [op.size(x, 0), -1, 3], (2, 4, 3), ["Shape"]),
    "a part of a shape": (lambda op, x: [op.shape(x, 1), -1], (3, 4, 2), []),
    "a vector of one element": (lambda op, x: [op.shape(x, 0, 1), 12], (2, 12), ["Shape"]),
    "0 keeps an axis": (lambda op, x: [0, -1], (2, 12), []),
    "a computed scalar": (
        lambda op, x: [op.Mul(op.size(x, 0), 2), -1],
        (4, 6),
        ["Shape", "Squeeze", "Mul", "Unsqueeze"],
    ),
    "one element as a scalar": (lambda op, x: [op.shape(x, 2), -1], (4, 6), []),
    "a size from the end": (lambda op, x: [-1, op.size(x, -1)], (6, 4), []),
}


@pytest.mark.parametrize(("dims", "expected", "nodes"), DIMS.values(), ids=DIMS)
def test_shapes_of_values_among_ints(dims, expected, nodes):
    """A size that is read back costs no more nodes than the vector that it came from."""
    op = builder()
    x = op.input("x", FLOAT, ["N", 3, 4])
    y = op.reshape(x, dims(op, x))
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(evaluate(op, y, x=array), array.reshape(expected))
    ir.passes.common.RemoveUnusedNodesPass()(ir.Model(op.graph, ir_version=8))
    assert [kind for kind in operators(op) if kind not in ("Concat", "Reshape")] == nodes


def test_expanding_to_a_size():
    op = builder()
    x = op.input("x", FLOAT, ["N", 3])
    y = op.expand(np.float32(2), [op.size(x, 0), 1, op.size(x, 1)])
    np.testing.assert_array_equal(evaluate(op, y, x=np.zeros((4, 3), np.float32)), np.full((4, 1, 3), 2.0))


def test_casts_to_the_dtype_at_hand_cost_nothing():
    op = builder()
    x = op.input("x", FLOAT, [3])
    assert op.cast(x, FLOAT) is x
    assert op.cast(x, None) is x
    assert op.cast(x, DOUBLE).dtype == DOUBLE
    assert operators(op) == ["Cast"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_several_outputs_are_a_tuple(count):
    op = builder()
    x = op.input("x", FLOAT, [6])
    parts = op.Split(x, [6 // count] * count, outputs=count)
    assert isinstance(parts, tuple)
    assert len(parts) == count
    assert op.node("Split", [x, [6]], outputs=1)[0].dtype == FLOAT


def test_inputs_left_out_at_the_end_are_not_written():
    op = builder()
    x = op.input("x", FLOAT, [3])
    assert list(op.Clip(x, None, None).producer().inputs) == [x]
    assert len(op.Resize(x, None, [2.0], None).producer().inputs) == 3


# Shapes


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [([2, 3], [2, 3], True), (["N", 3], ["N", 3], True), (["N"], ["M"], False), ([None], [None], False),
     ([2, None], [2, None], False), ([2], [2, 3], False)],
)  # fmt: skip
def test_same_dims(a, b, same):
    op = builder()
    assert same_dims(op.input("a", FLOAT, a), op.input("b", FLOAT, b)) is same


def test_a_shared_shape_object_counts_as_proof():
    op = builder()
    a, b = op.input("a", FLOAT, [None]), op.input("b", FLOAT, [None])
    b.shape = a.shape
    assert same_dims(a, b)
    assert op.sum_to(a, b) is a
    assert op.expand_like(a, b) is a


def test_types_and_shapes_are_inferred():
    op = builder()
    x = op.input("x", FLOAT, ["N", 3, 8, 8])
    w = op.constant(np.zeros((4, 3, 3, 3), np.float32))
    y = op.Conv(x, w, strides=[2, 2])
    assert (y.dtype, dims_of(y)) == (FLOAT, ["N", 4, 3, 3])
    values, indices = op.TopK(y, [2], axis=1, outputs=2)
    assert (values.dtype, indices.dtype, dims_of(indices)) == (FLOAT, INT64, ["N", 2, 3, 3])
    assert dims_of(op.Reshape(x, [0, -1])) == ["N", 192]


def test_reshape_like_with_one_symbol_needs_no_shape_node():
    op = builder()
    x, like = op.input("x", FLOAT, ["N", 6]), op.input("like", FLOAT, ["N", 2, 3])
    assert dims_of(op.reshape_like(x, like)) == ["N", 2, 3]
    assert operators(op) == ["Reshape"]


@pytest.mark.parametrize("dims", [[2, 3], ["N", 3], [None, None]])
def test_expand_and_zeros_like(dims):
    op = builder()
    x = op.input("x", FLOAT, dims)
    y = op.Add(op.expand_like(2.5, x), op.zeros_like(x))
    found = evaluate(op, y, x=np.full((2, 3), np.inf, np.float32))
    np.testing.assert_array_equal(found, np.full((2, 3), 2.5, np.float32))


# Names and bodies


def test_names_are_unique_also_in_bodies():
    op = builder()
    taken = op.input("x", FLOAT, [3])
    assert op.input("x", FLOAT, [3]).name == "x_1"
    assert op.unique_name("Mul") == "grad/Mul"
    first, second = op.Mul(taken, 2.0), op.Mul(taken, 3.0)
    inner = op.body("step")
    value = inner.Mul(inner.input("x", FLOAT, [3]), 2.0)
    names = [first.name, second.name, value.name, inner.graph.inputs[0].name, taken.name]
    assert len(set(names)) == len(names)
    assert [len(inner.graph.initializers), len(op.graph.initializers)] == [0, 2]


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda op, x: op.Frobnicate(x), "Frobnicate does not exist in ai.onnx opset 18"),
        (lambda op, x: op.Gelu(x), "Gelu does not exist in ai.onnx opset 18"),
        (lambda op, x: op.Relu(x, x), "Relu takes 1 to 1 inputs, 2 were given"),
        (lambda op, x: op.Concat(axis=0), "Concat takes 1 to"),
        (lambda op, x: op.Softmax(x, axes=1), r"Softmax has no attribute \['axes'\]"),
        (lambda op, x: op.MatMul(x, x), "MatMul cannot take inputs of shapes"),
        (lambda op, x: op.Concat(x, x, axis=7), "Concat cannot take inputs of shapes"),
    ],
)
def test_errors_name_the_operator(call, message):
    op = builder()
    x = op.input("x", FLOAT, [2, 3])
    with pytest.raises(RuleError, match=message):
        call(op, x)


def test_lower_case_names_are_no_operators():
    with pytest.raises(AttributeError):
        builder().relu  # noqa: B018
