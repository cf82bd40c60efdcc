"""Rows of the normalisations."""

from support.rule_cases import case, w, x

OLD = {"oracle": "onnxruntime", "because": "onnx's evaluator returns nothing usable for opset 7"}

STATISTICS = {"oracle": "onnxruntime", "because": "the statistics are float32, whatever x is"}

SINGLE = {"oracle": "onnxruntime", "because": "ONNX's own definition holds float32 constants"}

TRAINING = {"training_mode": 1, "momentum": 0.6, "outputs": "fff"}

CASES = [
    *(
        case("BatchNormalization", x(2, 3, *size), w(3), w(3), w(3), w(3, low=0.3))
        for size in ((), (5,), (4, 5), (2, 3, 4))
    ),
    case("BatchNormalization", x(2, 3, 4), w(3), w(3), w(3), w(3, low=0.3), epsilon=0.1),
    case("BatchNormalization", x(2, 3, 4, 2), x(3), x(3), x(3), x(3, low=0.3)),
    case("BatchNormalization", x(4, 3), x(3), x(3), x(3), x(3, low=0.3), epsilon=0.1),
    case("BatchNormalization", x(2, 3, 4), w(3), w(3), w(3), w(3, low=0.3), opset=7, **OLD),
    *(
        case("BatchNormalization", x(4, 3, *size), x(3), x(3), x(3), x(3, low=0.3), **TRAINING)
        for size in ((), (2,), (2, 2))
    ),
    case("LayerNormalization", x(2, 3, 4), w(4)),
    case("LayerNormalization", x(2, 3, 4), x(4), x(4), epsilon=0.1),
    case("LayerNormalization", x(2, 3, 4), x(3, 4), w(3, 4), axis=1),
    case("LayerNormalization", x(2, 3, 4), w(2, 3, 4), axis=0),
    case("LayerNormalization", x(2, 3, 4), w(3, 4), w(4), axis=-2),
    case("LayerNormalization", x(2, 3, 4), x(3, 4), x(3, 4), axis=1, outputs="fff", **STATISTICS),
    case("LayerNormalization", x(2, 3, 4), x(4), outputs="f-f", **STATISTICS),
    case("InstanceNormalization", x(2, 3, 5), w(3), w(3)),
    case("InstanceNormalization", x(2, 3, 4, 5), x(3), x(3), epsilon=0.1),
    case("GroupNormalization", x(2, 6, 4), w(6), w(6), num_groups=3, opset=21),
    case("GroupNormalization", x(2, 6, 4, 3), x(6), x(6), num_groups=2, epsilon=0.1, opset=21),
    case("GroupNormalization", x(2, 6, 4), x(6), x(6), num_groups=1, opset=21),
    case("GroupNormalization", x(2, 6, 4), x(6), x(6), num_groups=6, opset=21),
    case("RMSNormalization", x(2, 3, 4), w(4), opset=23),
    case("RMSNormalization", x(2, 3, 4), x(3, 4), axis=1, epsilon=0.1, opset=23),
    case("MeanVarianceNormalization", x(2, 3, 4, 5), axes=[0, 2, 3], **SINGLE),
    case("MeanVarianceNormalization", x(2, 3, 4, 5), axes=[2, 3], **SINGLE),
    case("MeanVarianceNormalization", x(2, 3, 4, 5), **SINGLE),
    *(case("LpNormalization", x(3, 4), p=p, **axis) for p in (1, 2) for axis in ({}, {"axis": 0})),
    case("LRN", x(2, 6, 3, 4), size=3, alpha=0.5, beta=0.6, bias=1.5),
    case("LRN", x(2, 3, 3, 4), size=5),
    case("LRN", x(2, 3, 3, 4), size=1, alpha=0.5),
]
