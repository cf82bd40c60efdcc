"""Rows of the com.microsoft normalisations, which are written out in ai.onnx.

Their forward pass is ONNX Runtime's own kernel, or a formula where that has none on a CPU.
"""

import functools

import numpy as np

from support.rule_cases import case, feed, microsoft, w, x

#: Some definitions need the widths.
FIXED = {"dynamic": False}
IDS = feed([[1, 4, 2, 0, 3], [2, 2, 5, 1, 0]], np.int32)
SEGMENTS = feed([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]], np.int32)
MASK = feed([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], np.int32)
ODD_MASK = feed([[1, 1, 2, 1, 0], [1, -1, 0, 0, 0]], np.int32)
TABLES = (w(6, 8), w(7, 8), w(2, 8), w(8), w(8))


def group_norm(values, gamma, beta, last=1, groups=2, activation=0, epsilon=1e-5):
    values = values if last else np.moveaxis(values, 1, -1)
    result = np.empty_like(values)
    size = values.shape[-1] // groups
    for row in range(len(values)):
        for start in range(0, values.shape[-1], size):
            part = values[row, ..., start : start + size]
            result[row, ..., start : start + size] = (part - part.mean()) / np.sqrt(part.var() + epsilon)
    result = result * gamma + beta
    result = result / (1 + np.exp(-result)) if activation else result
    return [result if last else np.moveaxis(result, -1, 1)]


def skip_group_norm(values, gamma, beta, skip, bias=None, **settings):
    total = values + (skip if skip.ndim == 4 else skip[:, None, None]) + (0 if bias is None else bias)
    return [*group_norm(total, gamma, beta, **settings), total]


def groups(op, formula, *operands, last=1, activation=0, epsilon=1e-5, **settings):
    chosen = functools.partial(formula, last=last, activation=activation, epsilon=epsilon)
    settings |= {"channels_last": last, "activation": activation, "epsilon": epsilon}
    return microsoft(op, *operands, formula=chosen, groups=2, **settings)


CASES = [
    microsoft("SkipLayerNormalization", x(2, 3, 8), x(2, 3, 8), w(8), w(8), w(8), epsilon=1e-3),
    microsoft("SkipLayerNormalization", x(2, 3, 8), x(2, 3, 8), x(8), outputs="f--f"),
    microsoft("SkipSimplifiedLayerNormalization", x(2, 3, 8), x(2, 3, 8), w(8), outputs="f--f"),
    microsoft("SkipSimplifiedLayerNormalization", x(2, 3, 8), x(2, 3, 8), x(8), x(8), opset=23),
    case("SimplifiedLayerNormalization", x(2, 3, 8), x(8), epsilon=1e-2),
    case("SimplifiedLayerNormalization", x(2, 3, 4), x(3, 4), axis=1),
    case("SimplifiedLayerNormalization", x(2, 3, 4), w(3, 4), axis=1, epsilon=0.1, outputs="ff"),
    case("LayerNormalization", x(2, 3, 4), x(4), x(4), opset=12, axis=-1, label="of ONNX Runtime"),
    microsoft(
        "EmbedLayerNormalization", IDS, None, x(6, 8), x(7, 8), None, x(8), x(8), outputs="fj", **FIXED
    ),
    microsoft("EmbedLayerNormalization", IDS, None, *TABLES, ODD_MASK, outputs="fjf", **FIXED),
    microsoft("EmbedLayerNormalization", IDS, SEGMENTS, *TABLES, MASK, outputs="fjf", **FIXED),
    microsoft(
        "EmbedLayerNormalization", IDS, SEGMENTS, *TABLES, MASK, mask_index_type=0, outputs="fjf", **FIXED
    ),
    microsoft("GatedRMSNorm", x(2, 3, 8), x(4), x(2, 3, 8)),
    microsoft("GatedRMSNorm", x(2, 3, 8), w(4), x(2, 3, 8), activation="sigmoid", epsilon=0.1),
    groups("GroupNorm", group_norm, x(2, 3, 4, 6), x(6), x(6)),
    groups("GroupNorm", group_norm, x(2, 3, 4, 6), w(6), w(6), activation=1, epsilon=0.1),
    groups("GroupNorm", group_norm, x(2, 6, 3, 4), w(6), w(6), last=0, activation=1),
    groups("SkipGroupNorm", skip_group_norm, x(2, 3, 4, 6), w(6), w(6), x(2, 3, 4, 6), x(6), outputs="ff"),
    groups("SkipGroupNorm", skip_group_norm, x(2, 3, 4, 6), w(6), w(6), x(2, 6), activation=1, outputs="ff"),
]
