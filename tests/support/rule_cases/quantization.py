"""Rows of quantisation: only what has a true derivative; straight-through gradients are in test_quantized.py."""

import numpy as np

from support.rule_cases import case, const, feed, weight, x

STEPS = const([[3, 200, 17], [120, 0, 255]], np.uint8)
SIGNED = const([[3, -128, 17], [120, 0, 127]], np.int8)
ZEROS = const([3, 5], np.uint8)

SETTINGS = {"oracle": "onnxruntime", "because": "the operator has no float64 form"}

RNG = np.random.default_rng(5)
IDS, SEGMENTS = (feed(values, np.int32) for values in ([[1, 3, 2], [0, 4, 4]], [[0, 1, 1], [0, 0, 1]]))
KEPT, SCALE = feed([[1, 1, 0], [1, 0, 0]], np.int32), weight(low=0.5, high=1.0)
SMALL = weight(low=0.005, high=0.01)
FIXED = {"dynamic": False, **SETTINGS}


def numbers(*shape):
    return const(RNG.integers(0, 256, shape), np.uint8)


def embedded(mask, kinds, **settings):
    """Segments are all there, or none of their inputs is."""
    tables = [numbers(5, 8), numbers(6, 8), numbers(2, 8), numbers(8), numbers(8)]
    scales, zeros = [*[SCALE] * 3, *[SMALL] * 2], [const(zero, np.uint8) for zero in (3, 100, 20, 55, 8)]
    if not kinds:
        tables[2] = scales[2] = zeros[2] = None
    operands = [IDS, SEGMENTS if kinds else None, *tables, mask, *scales, *zeros]
    return case("com.microsoft::QEmbedLayerNormalization", *operands, outputs="fj", **settings, **FIXED)


def attention(columns, *rest, **settings):
    scales = [const(0.02, np.float32), const(np.full([24] * columns, 0.01), np.float32)]
    operands = [feed(RNG.integers(0, 256, (2, 5, 6)), np.uint8), numbers(6, 24), x(24), *scales, *rest]
    return case("com.microsoft::QAttention", *operands, num_heads=2, **settings, **FIXED)


X_ZERO, ZERO, ZEROS_24 = const(117, np.uint8), const(130, np.uint8), const(np.full(24, 120), np.uint8)

CASES = [
    case("DequantizeLinear", STEPS, weight(1, low=0.1), **SETTINGS),
    case("DequantizeLinear", STEPS, weight(1), const([7], np.uint8), **SETTINGS),
    case("DequantizeLinear", SIGNED, weight(3), **SETTINGS),
    case("DequantizeLinear", STEPS, weight(2), ZEROS, axis=0, **SETTINGS),
    case("com.microsoft::DequantizeLinear", STEPS, weight(1), const([7], np.uint8), **SETTINGS),
    embedded(KEPT, kinds=True),
    embedded(None, kinds=False, epsilon=0.1),
    attention(False, None, X_ZERO, ZERO),
    attention(True, feed([4, 2], np.int32), X_ZERO, ZEROS_24, label="lengths"),
    attention(True, None, X_ZERO, ZEROS_24, x(2, 2, 2, 3, 4), unidirectional=1, label="past", outputs="ff"),
]
