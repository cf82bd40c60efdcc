"""Unknown sizes have names: equal ones are seen as equal, and nothing is summed or computed to find them out."""

import onnx_ir as ir
import pytest

from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of


def builder(*shapes):
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 18}, name="g")
    op = OpBuilder(graph, 18)
    return op, [op.input(f"x{i}", ir.DataType.FLOAT, shape) for i, shape in enumerate(shapes)]


# What is built from x (N, C, H, W) and z (M, 3), and whether both have the same shape.
EQUAL = {
    "a reshape by sizes of another": (lambda op, x, z: (op.Reshape(z, op.Shape(x)), x), True),
    "two reshapes by one product": (
        lambda op, x, z: tuple(
            op.Reshape(v, op.Concat(op.shape(x, 0, 2), op.ReduceProd(op.shape(x, 2), keepdims=1), axis=0))
            for v in (x, op.Neg(x))
        ),
        True,
    ),
    "products in either order": (
        lambda op, x, z: tuple(
            op.Expand(1.0, op.Mul(op.shape(x, a, a + 1), op.shape(x, b, b + 1))) for a, b in ((2, 3), (3, 2))
        ),
        True,
    ),
    "what -1 stands for": (lambda op, x, z: (op.Reshape(z, [-1, 3, 1]), op.Unsqueeze(z, [2])), True),
    "a range as long as an axis": (
        lambda op, x, z: (
            op.Range(0, op.Squeeze(op.shape(x, 1, 2)), 1),
            op.Squeeze(op.Gather(x, [0], axis=0), [0]),
        ),
        False,
    ),
    "expanded to a shape": (lambda op, x, z: (op.Expand(1.0, op.Shape(x)), op.Tanh(x)), True),
    "different products": (
        lambda op, x, z: tuple(op.Expand(1.0, op.Mul(op.shape(x, a, a + 1), 2)) for a in (2, 3)),
        False,
    ),
    "a difference, which may be -1": (
        lambda op, x, z: tuple(op.Reshape(v, op.Sub(op.shape(x, 2, 3), 1)) for v in (x, z)),
        False,
    ),
    "two lengths that only the values tell": (
        lambda op, x, z: tuple(op.NonZero(v) for v in (op.Gather(z, 0, axis=1), op.Gather(z, 1, axis=1))),
        False,
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_sizes_of_one_name(name):
    build, equal = EQUAL[name]
    op, (x, z) = builder(["N", "C", "H", "W"], ["M", 3])
    a, b = build(op, x, z)
    assert None not in dims_of(a)
    assert None not in dims_of(b)
    assert (dims_of(a) == dims_of(b)) == equal


def test_no_sum_is_needed_between_equal_names():
    op, (x,) = builder(["N", "C", "H", "W"])
    a, b = (op.Reshape(v, op.Concat(op.shape(x, 0, 1), [-1], axis=0)) for v in (x, x))
    assert op.sum_to(op.Mul(a, b), a).producer().op_type == "Mul"
    assert "NonZero" not in [node.op_type for node in op.graph]
