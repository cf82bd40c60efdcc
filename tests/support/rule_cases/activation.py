"""Rows of the activation rules, away from kinks; test_kinks.py is about the kinks."""

import numpy as np

from support.rule_cases import case, const, w, x

F = np.float32
SINGLE = {"oracle": "onnxruntime", "because": "Celu is defined for float32 only"}
OLD = {"oracle": "onnxruntime", "because": "onnx's evaluator has no flattening Softmax of opset 11"}

#: Swish: ONNX Runtime has a kernel for opset 24 alone.
CASES = [
    *(case(op, x(3, 4)) for op in ("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Mish")),
    case("Relu", x()),
    case("Sigmoid", x(3, 4, low=-20, high=20), label="saturated"),
    case("Softplus", x(3, 4, low=-20, high=20), label="saturated"),
    case("Clip", x(3, 4), const(-1.0, F), const(1.0, F)),
    case("Clip", x(3, 4), const(0.0, F), const(6.0, F)),
    case("Clip", x(3, 4, low=-9, high=9), const(0.0, F), const(6.0, F), label="relu6"),
    case("Clip", x(3, 4), const(0.0, F)),
    case("Clip", x(3, 4), None, const(0.5, F)),
    case("Clip", x(3, 4)),
    case("Clip", x(3, 4), x(low=-0.6, high=-0.4), x(low=0.4, high=0.6), label="active-bounds"),
    case("Clip", x(3, 4), None, x(low=0.4, high=0.6), label="active-high"),
    case("Clip", x(3, 4), x(low=0.4, high=0.6), x(low=-0.6, high=-0.4), label="crossing-bounds"),
    case("LeakyRelu", x(3, 4)),
    case("LeakyRelu", x(3, 4), alpha=0.3),
    case("LeakyRelu", x(3, 4), alpha=-0.3),
    case("PRelu", x(3, 4), w(4)),
    case("PRelu", x(2, 3, 4), x(3, 1)),
    case("PRelu", x(2, 3, 4), x(2, 3, 4)),
    case("PRelu", x(2, 3, 4), x(1)),
    case("ThresholdedRelu", x(3, 4)),
    case("ThresholdedRelu", x(3, 4), alpha=-0.5),
    case("Elu", x(3, 4)),
    case("Elu", x(3, 4), alpha=0.3),
    case("Elu", x(3, 4), alpha=-0.7),
    case("Selu", x(3, 4)),
    case("Selu", x(3, 4), alpha=1.2, gamma=0.8),
    case("Celu", x(3, 4), **SINGLE),
    case("Celu", x(3, 4), **SINGLE, alpha=0.4),
    case("HardSigmoid", x(3, 4, low=-4, high=4)),
    case("HardSigmoid", x(3, 4, low=-4, high=4), alpha=0.5, beta=0.3),
    case("HardSigmoid", x(3, 4, low=-4, high=4), alpha=-0.5, beta=0.3),
    case("HardSwish", x(3, 4, low=-5, high=5)),
    case("Swish", x(3, 4), opset=24),
    case("Swish", x(3, 4), alpha=1.7, opset=24),
    case("Gelu", x(3, 4), opset=20),
    case("Gelu", x(3, 4), approximate="tanh", opset=20),
    case("Shrink", x(3, 4)),
    case("Shrink", x(3, 4), lambd=0.7, bias=0.2),
    *(
        case(op, x(*shape), **axis)
        for op in ("Softmax", "LogSoftmax")
        for shape, axis in (
            ((3, 4), {}), ((2, 3, 4), {"axis": 1}), ((2, 3, 4), {"axis": 0}), ((2, 3, 4), {"axis": -2}), ((4,), {}),
        )
    ),
    case("Softmax", x(2, 3, 4), **OLD, opset=11, axis=1),
    case("LogSoftmax", x(2, 3, 4), **OLD, opset=11, axis=1),
    case("Softmax", x(2, 4), opset=9),
    case("Dropout", x(3, 4)),
    case("Dropout", x(3, 4), const(0.3, F), const(False, bool)),
    case("Dropout", x(3, 4), opset=10, ratio=0.3),
]  # fmt: skip
