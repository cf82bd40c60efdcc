"""Rows at the points where a rule's local derivative is infinite or undefined.

The operands' first axis holds samples: the first two are regular, the others sit on such points. ``shared`` operands
belong to all samples.
"""

import numpy as np

from support.rule_cases import Case, Operand, at, case, const

INF, NAN = np.inf, np.nan
F = np.float32


def shared(values) -> Operand:
    """A float runtime input of given values, which gets a gradient, and which all samples use."""
    array = np.asarray(values, F)
    return Operand(array.shape, low=array, high=array, resizable=False)


def line(*values: float) -> Operand:
    """One number a sample; the two regular ones are 0.5 and 0.75."""
    return at([[0.5], [0.75], *([value] for value in values)])


def flat(row: list[float], *others: list[float]) -> Operand:
    """One row a sample; the regular ones are given."""
    return at([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75], row, *others])


def maps(*fills: float) -> Operand:
    """A map of two channels a sample, the singular ones of equal elements."""
    regular = np.random.default_rng(0).normal(size=(2, 2, 2, 2))
    return at(np.concatenate([regular, *(np.full((1, 2, 2, 2), fill) for fill in fills)]))


MASKED = flat([-INF, -INF, -INF], [NAN, 0, 1])
AXIS = const([1])

CASES: list[Case] = [
    case("Sqrt", line(0, -1, INF, NAN)),
    case("Log", line(0, -1, INF, NAN)),
    case("Reciprocal", line(0, -0.0, INF, NAN)),
    case("Div", line(1, 0, INF, NAN), at([[2], [-3], [0], [0], [INF], [1]])),
    case("Div", line(1, 0), at([[2, 3], [-3, 1], [0, 0], [0, 0]]), label="broadcast"),
    case("Div", shared([1]), line(0, -0.0, NAN), label="shared-numerator"),
    case("Mul", line(INF, -INF, NAN, 0), at([[2], [-3], [0], [1], [0], [INF]])),
    case("Mul", line(INF, NAN), shared([2, 3]), label="shared"),
    case("Pow", line(0, 0, 0, -2, -2), at([[2], [1.5], [0], [0.5], [-1], [0.5], [3]])),
    *(case("Pow", line(0, -2), const(power, F)) for power in (0.0, 0.5, 1.5, -1.0, -0.5)),
    case("Pow", line(0), const(-1), label="integer"),
    case("Pow", const(0.0, F), line(0, -1), label="base-zero"),
    case("Mod", line(1, INF), at([[0.3], [0.2], [0], [0]]), fmod=1),
    *(case(op, line(1, -1, 2, INF, NAN)) for op in ("Asin", "Acos", "Atanh")),
    case("Acosh", at([[1.5], [2], [1], [0.5], [INF], [NAN]])),
    *(case(op, line(1000, -1000, INF, -INF, NAN)) for op in ("Exp", "Sinh", "Cosh", "Tan", "Erf", "Sin", "Abs")),
    *(
        case(op, line(1000, -1000, INF, -INF, NAN))
        for op in (
            "Relu Sigmoid Tanh Softplus Softsign Mish HardSwish HardSigmoid Elu Selu Celu LeakyRelu ThresholdedRelu"
        ).split()
    ),
    *(
        case("Gelu", line(1e30, -1e30, INF, -INF, NAN), approximate=approximate, opset=20)
        for approximate in ("none", "tanh")
    ),
    case("Swish", line(1e30, INF, -INF, NAN), opset=24),
    case("PRelu", line(INF, -INF, NAN), shared([0.5])),
    case("Max", line(INF, NAN), line(NAN, -INF)),
    case("Min", line(INF, NAN), shared([0.6])),
    case("Clip", line(INF, NAN), const(0.6, F), const(0.7, F)),
    case("ReduceL2", flat([0, 0, 0], [INF, 0, 1], [NAN, 1, 1]), AXIS),
    case("ReduceL1", flat([INF, 0, 1]), AXIS),
    case("ReduceSumSquare", flat([INF, 0, 1], [NAN, 1, 1]), AXIS),
    case("ReduceLogSum", at([[1, 2], [3, 1], [0, 0], [1, -2], [INF, 1]]), AXIS),
    case("ReduceLogSumExp", flat([-INF, -INF, -INF], [INF, 0, 1], [NAN, 0, 1]), AXIS),
    case("ReduceMax", MASKED, AXIS),
    case("ReduceMean", MASKED, AXIS),
    case("ReduceProd", flat([0, 0, 1], [0, 2, INF], [NAN, 1, 1]), AXIS),
    case("Softmax", MASKED),
    case("LogSoftmax", MASKED),
    case("LpNormalization", flat([0, 0, 0], [INF, 0, 1], [NAN, 1, 1]), axis=1),
    case("LpNormalization", flat([0, 0, 0], [NAN, 1, 1]), axis=1, p=1),
    *(
        case(op, flat([2, 2, 2], [0, 0, 0], [INF, 1, 1], [NAN, 1, 2]), shared([1, 2, 3]), epsilon=0.0, opset=opset)
        for op, opset in (("LayerNormalization", 18), ("RMSNormalization", 23))
    ),
    case("InstanceNormalization", maps(0, 2, NAN), shared([1, 2]), shared([0, 1]), epsilon=0.0),
    case("GroupNormalization", maps(0, 2, NAN), shared([1, 2]), shared([0, 1]), num_groups=1, epsilon=0.0, opset=21),
    case("BatchNormalization", maps(INF, NAN), shared([1, 2]), shared([0, 1]), shared([0, 0]), shared([1, 2])),
    case("LRN", maps(INF, NAN), size=3),
    case("MeanVarianceNormalization", maps(0, 2, NAN), axes=[2, 3]),
    case("LpPool", maps(0, INF, NAN), kernel_shape=[2, 2]),
    case("GlobalLpPool", maps(0, INF, NAN)),
    case("MaxPool", maps(-INF, INF, NAN), kernel_shape=[2, 2]),
    case("AveragePool", maps(INF, NAN), kernel_shape=[2, 2]),
    case("GlobalAveragePool", maps(INF, NAN)),
    case("GlobalMaxPool", maps(INF, NAN)),
    case("MatMul", flat([INF, 0, 1], [NAN, 1, 1]), shared([[1, 0], [2, 1], [3, -1]])),
    case("MatMul", at(np.full((3, 2, 3), [[[1]], [[2]], [[NAN]]])), at(np.ones((3, 3, 2))), label="batched"),
    case("Gemm", flat([INF, 0, 1], [NAN, 1, 1]), shared([[1, 0, 3], [2, 1, -1]]), shared([0, 0]), transB=1),
    case("Einsum", flat([INF, 0, 1], [NAN, 1, 1]), shared([[1, 0], [2, 1], [3, -1]]), equation="ij,jk->ik"),
    case("CumProd", flat([0, INF, 1], [NAN, 1, 1]), const(1), opset=26),
    case("Det", at([[[1, 2], [3, 4]], [[2, 0], [1, 3]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]])),
    case("ai.onnx.ml::Normalizer", flat([0, 0, 0], [NAN, 1, 1]), norm="L2"),
    case("ai.onnx.ml::Normalizer", flat([0, 0, 0], [NAN, 1, 1]), norm="L1"),
    case("ai.onnx.ml::Normalizer", flat([0, 0, 0], [NAN, 1, 1]), norm="MAX"),
    case("com.microsoft::FastGelu", line(1e30, -1e30, INF, NAN)),
    case("com.microsoft::QuickGelu", line(1e30, -1e30, INF, NAN)),
]  # fmt: skip
