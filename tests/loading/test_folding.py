"""Results on constants that are found without a node are those of ONNX's evaluator."""

import itertools

import numpy as np
import onnx_ir as ir
import pytest

from onnxattr.graph.folding import FOLD_LIMIT, folded_at_once
from onnxattr.graph.schemas import run_node

INT64, INT32 = np.int64, np.int32
ARRAYS = [
    np.array(array, INT64)
    for array in (5, [3], [0, -1], [1, 2, 3], [[7], [-8]], [[1, 2, 3], [4, 5, 6]], [[[2]]], np.zeros((0,)))
]


def value(name: str, array: np.ndarray) -> ir.Value:
    return ir.Value(
        name=name,
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        shape=ir.Shape(array.shape),
        const_value=ir.Tensor(array),
    )


def compare(op_type: str, arrays, opset: int = 18, **attributes) -> bool:
    """That what is found at once is what the evaluator finds; returns whether anything was."""
    inputs = [value(f"x{k}", array) for k, array in enumerate(arrays)]
    found = folded_at_once(op_type, inputs, attributes, opset)
    if found is not None:
        node = ir.node(op_type, inputs, attributes)
        node.outputs[0].name = "y"
        (expected,) = run_node(node, opset, {v.name: a for v, a in zip(inputs, arrays, strict=True)})
        np.testing.assert_array_equal(found, expected)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    return found is not None


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Max", "Min"])
def test_arithmetic(op_type):
    told = sum(compare(op_type, pair) for pair in itertools.product(ARRAYS, repeat=2))
    assert told > 40  # the rest does not broadcast
    assert compare(op_type, [ARRAYS[3].astype(INT32), ARRAYS[0].astype(INT32)])


@pytest.mark.parametrize("op_type", ["Squeeze", "Unsqueeze"])
def test_axes(op_type):
    axes = [np.array(a, INT64) for a in ([0], [-1], [1], [0, 1], [0, 2])]
    assert sum(compare(op_type, pair) for pair in itertools.product(ARRAYS, axes)) > 8


@pytest.mark.parametrize("axis", [0, -1, 1])
def test_concat(axis):
    sets = [*itertools.product(ARRAYS, repeat=2), [ARRAYS[3]], [ARRAYS[1], ARRAYS[3], ARRAYS[2]]]
    assert sum(compare("Concat", arrays, axis=axis) for arrays in sets) > 3


@pytest.mark.parametrize(
    ("op_type", "arrays", "attributes", "opset"),
    [
        ("Add", [np.ones(2, INT64), np.ones(2, INT32)], {}, 18),  # no such node
        ("Add", [np.ones(2, np.float32)] * 2, {}, 18),
        ("Add", [np.ones(2, INT64), np.ones(3, INT64)], {}, 18),
        ("Max", [np.ones(2, INT64)] * 3, {}, 18),
        ("Add", [np.ones((1, 100), INT64), np.ones((100, 1), INT64)], {}, 18),  # too much
        ("Concat", [np.ones(FOLD_LIMIT, INT64), np.ones(1, INT64)], {"axis": 0}, 18),
        ("Concat", [np.ones(2, INT64), np.ones(1, INT64)], {}, 18),
        ("Squeeze", [np.ones((1, 2), INT64)], {}, 18),
        ("Squeeze", [np.ones((1, 2), INT64)], {"axes": [0]}, 11),
        ("Squeeze", [np.ones(2, INT64), np.zeros(1, INT64)], {}, 18),
        ("Unsqueeze", [np.ones(2, INT64), np.array([3])], {}, 18),
        ("Div", [np.ones(2, INT64)] * 2, {}, 18),
    ],
)
def test_left_to_the_evaluator(op_type, arrays, attributes, opset):
    assert not compare(op_type, arrays, opset, **attributes)
