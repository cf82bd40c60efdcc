"""Rows of LSTM, GRU and RNN."""

import numpy as np

from support.rule_cases import Case, case, const, feed, weight, x
from support.rule_cases import w as constant

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, BATCH, SIZE, HIDDEN = 4, 3, 2, 5
ORACLE = {"oracle": "differences", "because": "onnx's evaluator runs no Scan backwards", "symbolic_axis": 1}


def cell(
    op: str,
    bias: bool = True,
    lengths: list[int] | None = None,
    states: bool = False,
    peepholes: bool = False,
    outputs: str = "",
    trained: bool = False,
    **settings,
) -> Case:
    """One node with the optional operands that are asked for; its weights get a gradient if it is ``trained``."""
    w = weight if trained else constant
    directions = 2 if settings.get("direction") == "bidirectional" else 1
    rows = GATES[op] * HIDDEN
    count = 3 if op == "LSTM" else 2
    operands = [
        x(STEPS, BATCH, SIZE),
        w(directions, rows, SIZE),
        w(directions, rows, HIDDEN),
        w(directions, 2 * rows) if bias else None,
        None if lengths is None else feed(lengths, np.int32),
        x(directions, BATCH, HIDDEN) if states else None,
    ]
    if op == "LSTM":
        operands += [
            x(directions, BATCH, HIDDEN) if states else None,
            w(directions, 3 * HIDDEN) if peepholes else None,
        ]
    while operands[-1] is None:
        operands.pop()
    return case(op, *operands, hidden_size=HIDDEN, outputs=outputs or "f" * count, **ORACLE, **settings)


DIRECTIONS = ("forward", "reverse", "bidirectional")

CASES = [
    *(cell(op, direction=d) for op in GATES for d in DIRECTIONS),
    *(cell(op, direction=d, bias=False, label="no-bias") for op in GATES for d in DIRECTIONS[:2]),
    *(cell(op, direction=d, states=True, label="states") for op in GATES for d in DIRECTIONS),
    *(cell(op, direction=d, lengths=[4, 1, 3], label="lengths") for op in GATES for d in DIRECTIONS),
    *(cell(op, direction=d, lengths=[2, 4, 3], states=True, label="lengths") for op in GATES for d in DIRECTIONS),
    *(cell(op, direction=d, lengths=[2, 0, 4], states=True, label="lengths") for op in GATES for d in DIRECTIONS),
    *(cell(op, outputs="f-" if op != "LSTM" else "f--") for op in GATES),
    *(cell(op, outputs="f") for op in GATES),
    *(cell(op, outputs="-f", direction=d) for op in GATES for d in DIRECTIONS),
    *(cell(op, outputs="-f", direction=d, lengths=[4, 1, 3], label="lengths") for op in GATES for d in DIRECTIONS),
    *(cell("LSTM", outputs="--f", direction=d) for d in DIRECTIONS),
    cell("LSTM", outputs="f-f", lengths=[4, 1, 3]),
    *(cell("LSTM", peepholes=True, states=True, direction=d, label="peepholes") for d in DIRECTIONS),
    *(cell("GRU", linear_before_reset=1, direction=d) for d in DIRECTIONS),
    cell("GRU", linear_before_reset=1, bias=False, states=True, lengths=[2, 4, 1]),
    *(cell(op, clip=0.4) for op in GATES),
    # The weights' own gradients.
    *(cell(op, direction=d, trained=True) for op in GATES for d in DIRECTIONS[1:]),
    cell("LSTM", peepholes=True, states=True, lengths=[4, 1, 3], trained=True),
    cell("LSTM", peepholes=True, input_forget=1, clip=0.4, trained=True),
    cell("LSTM", peepholes=True, states=True, lengths=[0, 0, 0], outputs="-ff"),
    cell("GRU", linear_before_reset=1, states=True, lengths=[4, 1, 3], trained=True),
    cell("GRU", bias=False, states=True, lengths=[2, 4, 3], clip=0.4, trained=True),
    cell("RNN", bias=False, lengths=[2, 4, 3], direction="reverse", trained=True),
    cell("LSTM", input_forget=1),
    cell("LSTM", activations=["HardSigmoid", "Relu", "Softsign"]),
    cell("LSTM", activations=["Sigmoid", "ScaledTanh", "Affine"], activation_alpha=[1.2, 0.7],
         activation_beta=[0.8, 0.1]),
    cell("LSTM", activations=["Sigmoid", "Tanh", "Tanh", "HardSigmoid", "Elu", "LeakyRelu"],
         activation_alpha=[0.3, 0.9, 0.2], activation_beta=[0.6], direction="bidirectional"),
    cell("GRU", activations=["HardSigmoid", "Softplus"]),
    cell("GRU", activations=["sigmoid", "relu"], label="lower-case"),
    cell("RNN", activations=["Relu"]),
    cell("RNN", activations=["LeakyRelu", "ThresholdedRelu"], activation_alpha=[0.2, 0.3], direction="bidirectional"),
    *(cell(op, opset=opset) for op in GATES for opset in (7, 14, 22)),
    case("LSTM", x(1, 1, 3), constant(1, 8, 3), constant(1, 8, 2), hidden_size=2, outputs="fff", label="one-step",
         **ORACLE),
    case("GRU", x(4, 3, 2), constant(1, 15, 2), constant(1, 15, 5), constant(1, 30), const([4, 2, 1], np.int32),
         hidden_size=5, outputs="ff", label="constant-lengths", **ORACLE),
]  # fmt: skip
