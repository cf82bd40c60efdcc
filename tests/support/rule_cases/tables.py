"""The rows of all rule tables."""

import importlib

from support.rule_cases import Case

FAMILIES = (
    "elementwise",
    "activation",
    "linear",
    "conv",
    "pool",
    "reduce",
    "norm",
    "shape",
    "selection",
    "sampling",
    "roi",
    "signal",
    "loss",
    "recurrent",
    "defined",
    "contrib",
    "contrib_norm",
    "contrib_shape",
    "decoder",
    "states",
    "branches",
    "quantization",
    "ml",
)
CASES: list[Case] = [
    row for family in FAMILIES for row in importlib.import_module(f"support.rule_cases.{family}").CASES
]
