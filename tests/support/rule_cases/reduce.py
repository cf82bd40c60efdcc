"""Rows of the reductions."""

import numpy as np

from support.rule_cases import at, case, const, feed, x

OPS = {
    "ReduceSum": {}, "ReduceMean": {}, "ReduceMax": {}, "ReduceMin": {}, "ReduceProd": {}, "ReduceL1": {},
    "ReduceL2": {}, "ReduceSumSquare": {}, "ReduceLogSum": {"low": 0.3}, "ReduceLogSumExp": {},
}  # fmt: skip

#: None, one, several in a row.
ZEROS = [[1.5, -2, 0.5, 3], [1.5, 0, 0.5, 3], [0, 2, 0, 3], [2, 3, -1, 0]]

CASES = [
    *(case(op, x(2, 3, 4, **span), const([1])) for op, span in OPS.items()),
    *(case(op, x(2, 3, 4, **span), const([-1, 0]), keepdims=0) for op, span in OPS.items()),
    *(case(op, x(2, 3, **span)) for op, span in OPS.items()),
    *(case(op, x(2, 3, **span), keepdims=0) for op, span in OPS.items()),
    *(case(op, x(2, 3, **span), const([])) for op, span in OPS.items()),
    *(case(op, x(2, 3, 4, **span), feed([2, 0]), label="dynamic-axes") for op, span in OPS.items()),
    *(case(op, x(2, 3, 4, **span), feed([1]), keepdims=0, label="dynamic-axes") for op, span in OPS.items()),
    *(case(op, x(2, 3, **span), axes=[1], opset=11, keepdims=0) for op, span in OPS.items()),
    case("ReduceSum", x(2, 3), noop_with_empty_axes=1),
    case("ReduceSum", x(2, 3), const([]), noop_with_empty_axes=1),
    case("ReduceMean", x(2, 3), const([]), noop_with_empty_axes=1),
    case("ReduceMax", x(2, 3), const([]), noop_with_empty_axes=1),
    case("ReduceSum", x(2, 3), const([1]), noop_with_empty_axes=1),
    case("ReduceMean", x(4), const([0]), keepdims=0),
    *(
        case("CumSum", x(2, 3, 4), const(axis), reverse=reverse, exclusive=exclusive)
        for axis in (1, -1)
        for reverse in (0, 1)
        for exclusive in (0, 1)
    ),
    case("CumSum", x(2, 3, 4), feed(0), label="dynamic-axis"),
    case("CumSum", x(2, 3, 4), const(1, np.int32), label="int32-axis"),
    *(
        case("CumProd", operand, const(axis), reverse=reverse, exclusive=exclusive, opset=26, label=label)
        for operand, axis, label in ((x(2, 4, 3), 1, ""), (x(2, 3), -1, ""), (at(ZEROS), 1, "zeros"))
        for reverse in (0, 1)
        for exclusive in (0, 1)
    ),
]
