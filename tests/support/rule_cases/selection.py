"""Rows of the operators that choose elements."""

import numpy as np

from support.rule_cases import case, const, feed, x

CASES = [
    case("Slice", x(5, 6), const([1, 2]), const([4, 5])),
    case("Slice", x(5, 6), const([1]), const([100]), const([1])),
    case("Slice", x(5, 6), const([-3]), const([-1]), const([-1])),
    case("Slice", x(5, 6), const([-100, 2]), const([3, 3]), const([0, 1]), label="clamped-and-empty"),
    case("Slice", x(5, 6), const([0]), const([6]), const([1]), const([2])),
    case("Slice", x(5, 6), const([4, -1]), const([0, -100]), const([0, 1]), const([-2, -1])),
    case("Slice", x(5, 6), const([1], np.int32), const([4], np.int32), const([0], np.int32)),
    case("Slice", x(5, 6), feed([1, 2]), feed([4, 5]), label="dynamic"),
    case("Slice", x(5, 6), feed([-1]), const([-100]), const([0]), const([-2]), label="dynamic-start"),
    case("Slice", x(5, 6), const([1]), const([4]), feed([1]), label="dynamic-axis"),
    case("Slice", x(5, 6), const([0]), feed([3]), label="dynamic-end"),
    case("Slice", x(5, 6), starts=[1], ends=[4], axes=[1], opset=9),
    case("Gather", x(4, 3), const([0, 2, 2])),
    case("Gather", x(4, 3), const([[0, -1], [1, 1]]), axis=1),
    case("Gather", x(4, 3), const(-2), axis=0),
    case("Gather", x(4, 3, 2), const([1]), axis=1),
    case("Gather", x(4, 3, 2), const([-1]), axis=-2),
    case("Gather", x(4, 3), feed([3, 3, 0], np.int32), label="dynamic"),
    case("GatherElements", x(3, 3), const([[0, 2, 2], [1, 1, -1]]), axis=0),
    case("GatherElements", x(3, 3), feed([[0, 2], [1, 1], [0, 0]]), axis=1),
    case("GatherND", x(3, 4, 2), const([[0, 1], [2, 3], [0, 1]])),
    case("GatherND", x(3, 4, 2), const([[1], [0], [-1]]), batch_dims=1),
    case("GatherND", x(3, 4, 2), feed([[[0, 0, 1]], [[2, 3, 1]]]), label="dynamic"),
    case("Unique", x(3, 4), outputs="f---"),
    case("Unique", x(3, 4), axis=1, outputs="f-ii"),
    case("OneHot", const([1, -1, 5]), const(3), x(2), axis=0),
    case("OneHot", feed([[1, 0]]), const(3), x(2), label="dynamic"),
    case("TensorScatter", x(2, 5, 3), x(2, 2, 3), const([1, 3]), axis=1, opset=24),
    case("TensorScatter", x(2, 5, 3), x(2, 2, 3), feed([4, 0]), axis=1, mode="circular", opset=24),
    case("TensorScatter", x(2, 2, 3, 2), x(2, 2, 2, 2), opset=24),
    case("Compress", x(3, 4), const([True, False, True], bool), axis=0),
    case("Compress", x(3, 4), const([True, False, True, True, False], bool)),
    case("Compress", x(3, 4), feed([False, True], bool), axis=-1),
    case("TopK", x(3, 5), const([2]), outputs="fi"),
    case("TopK", x(3, 5), const([2]), axis=0, largest=0, outputs="fi"),
    case("TopK", x(3, 5), feed([3]), sorted=0, outputs="fi", oracle="onnxruntime", step=1e-4, tolerance=2e-2,
         because="the order of unsorted outputs is free"),
    case("ScatterElements", x(3, 3), const([[0, 2, 1], [1, 0, 2]]), x(2, 3)),
    case("ScatterElements", x(3, 3), feed([[0, -1], [1, 0], [2, 1]]), x(3, 2), axis=1),
    case("ScatterElements", x(3, 3), const([[0, 0, 1], [1, 0, 1]]), x(2, 3), reduction="add"),
    *(
        case("ScatterElements", x(3, 3), const([[0, 0, 1], [1, 0, 1]]), x(2, 3), reduction=reduction)
        for reduction in ("mul", "max", "min")
    ),
    *(
        case("ScatterND", x(4, 3), const([[2], [2]]), x(2, 3), reduction=reduction)
        for reduction in ("mul", "max", "min")
    ),
    case("Scatter", x(3, 3), const([[0, 2, 1], [1, 0, 2]]), x(2, 3), opset=9, oracle="onnxruntime",
         because="onnx's evaluator has no Scatter"),
    case("ScatterND", x(4, 3), const([[2], [0]]), x(2, 3)),
    case("ScatterND", x(4, 3), feed([[2, 1], [0, 0], [-1, 2]]), x(3)),
    case("ScatterND", x(4, 3), const([[2], [2]]), x(2, 3), reduction="add"),
    # Two updates of one place: the last one stays.
    case("ScatterND", x(4, 3), const([[2], [2]]), x(2, 3)),
    case("ScatterND", x(4, 3), const([[2], [-2], [0]]), x(3, 3)),
    case("ScatterND", x(4, 3), feed([[[2, 1], [0, 0]], [[-2, 1], [2, 1]]]), x(2, 2), label="dynamic"),
    case("ScatterND", x(4, 3, 2), feed([[1], [3], [1]]), x(3, 3, 2), label="dynamic"),
    case("ScatterND", x(4, 3), feed([[1], [3], [-3]]), x(3, 3), reduction="mul", label="dynamic"),
    case("ScatterElements", x(3, 3), const([[0, 2, 1], [0, 0, -2]]), x(2, 3)),
    case("ScatterElements", x(3, 3), feed([[0, -1], [1, 1], [2, -1]]), x(3, 2), axis=1, label="twice"),
    case("ScatterElements", x(3, 3), feed([[0, -3, 1], [1, 2, 0]]), x(2, 3), axis=-1, label="twice"),
]  # fmt: skip
