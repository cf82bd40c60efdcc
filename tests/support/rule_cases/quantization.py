"""Rows of quantisation: only what has a true derivative; straight-through gradients are in test_quantized.py."""

import numpy as np

from support.rule_cases import case, const, weight

STEPS = const([[3, 200, 17], [120, 0, 255]], np.uint8)
SIGNED = const([[3, -128, 17], [120, 0, 127]], np.int8)
ZEROS = const([3, 5], np.uint8)

SETTINGS = {"oracle": "onnxruntime", "because": "the operator has no float64 form"}

CASES = [
    case("DequantizeLinear", STEPS, weight(1, low=0.1), **SETTINGS),
    case("DequantizeLinear", STEPS, weight(1), const([7], np.uint8), **SETTINGS),
    case("DequantizeLinear", SIGNED, weight(3), **SETTINGS),
    case("DequantizeLinear", STEPS, weight(2), ZEROS, axis=0, **SETTINGS),
    case("com.microsoft::DequantizeLinear", STEPS, weight(1), const([7], np.uint8), **SETTINGS),
]
