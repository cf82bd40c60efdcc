"""Rows of the losses, which are differentiated through ONNX's own definition."""

from support.rule_cases import Case, Operand, case, const, feed, w, x

LABELS = [1, 0, 4, 2]
UNKNOWN = [1, -1, 4, -1]
MAPS = [[[0, 2, 1], [1, 1, 0]], [[2, 0, 2], [1, 0, 0]]]


def loss(op: str, scores: Operand, labels: Operand, weighted: bool = False, **settings) -> Case:
    weights = [w(scores.shape[1], low=0.5)] if weighted else []
    return case(op, scores, labels, *weights, **settings)


CASES = [
    loss(op, scores, labels, weighted, reduction=reduction, **ignored)
    for op in ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
    for scores, labels in ((x(4, 5), const(LABELS)), (x(2, 3, 2, 3), feed(MAPS)))
    for weighted in (False, True)
    for reduction, ignored in (
        ("mean", {}),
        ("mean", {"ignore_index": 1}),
        ("sum", {}),
        ("none", {"ignore_index": 1}),
    )
] + [
    loss("SoftmaxCrossEntropyLoss", x(4, 5), feed(LABELS), outputs="ff"),
    loss(
        "SoftmaxCrossEntropyLoss",
        x(2, 3, 2, 3),
        const(MAPS),
        True,
        reduction="none",
        ignore_index=-1,
        outputs="ff",
    ),
    loss("SoftmaxCrossEntropyLoss", x(4, 5), const(UNKNOWN), reduction="mean", ignore_index=-1),
    loss("NegativeLogLikelihoodLoss", x(4, 5), const(UNKNOWN), reduction="none", ignore_index=-1),
    loss(
        "NegativeLogLikelihoodLoss",
        x(4, 5),
        const(UNKNOWN),
        reduction="mean",
        ignore_index=-1,
        oracle="onnxruntime",
        because="onnx's evaluator counts labels of -1 in the mean",
    ),
    case("SoftmaxCrossEntropyLoss", x(4, 5), const(LABELS), x(5, low=0.5), label="weights"),
    case("NegativeLogLikelihoodLoss", x(4, 5), const(LABELS), x(5, low=0.5), label="weights"),
    case("NegativeLogLikelihoodLoss", x(4, 5), const(LABELS)),
]
