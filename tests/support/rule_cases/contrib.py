"""Rows of the com.microsoft operators, which are written out in ai.onnx.

Their forward pass is ONNX Runtime's own kernel; onnx's evaluator runs what they are written out as.
"""

import functools

import numpy as np
import scipy.special

from support.rule_cases import const, feed, microsoft, w, x

MASK = feed([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], np.int32)
LENGTHS = feed([4, 2], np.int32)
PAST = (x(2, 2, 3, 4), x(2, 2, 3, 4))


def bias_split_gelu(values, bias):
    left, right = np.split(values + bias, 2, axis=-1)
    return [left * right * 0.5 * (1 + scipy.special.erf(right / np.sqrt(2)))]


def nhwc_conv(values, weights, bias):
    """A kernel of 3 x 2 with a stride of 1 and 2, one row of zeros above."""
    values = np.pad(values, [(0, 0), (1, 0), (0, 0), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(values, (3, 2), (1, 2))[:, :, ::2]
    return [np.einsum("nyxchw,mhwc->nyxm", windows, weights) + (0 if bias is None else bias)]


def grouped_conv(values, weights):
    parts = zip(np.split(values, 2, -1), np.split(weights, 2), strict=True)
    return [np.concatenate([nhwc_conv(x, w, None)[0] for x, w in parts], -1)]


def softmax(values, bias):
    return [scipy.special.softmax(values + bias, axis=-1)]


def softmax_2(values, bias):
    return [scipy.special.softmax(values + bias, axis=(-2, -1))]


conv = functools.partial(microsoft, "FusedConv", symbolic_axis=0, kernel_shape=[3, 3])
nhwc = functools.partial(
    microsoft, "NhwcConv", kernel_shape=[3, 2], strides=[1, 2], pads=[1, 0, 0, 0], dynamic=False
)
mha = functools.partial(microsoft, "MultiHeadAttention", num_heads=2, dynamic=False)
attention = functools.partial(microsoft, "Attention", num_heads=2, dynamic=False)

CASES = [
    conv(x(2, 3, 7, 8), w(4, 3, 3, 3), w(4), activation="Relu", pads=[1, 0, 0, 1], strides=[2, 1]),
    conv(x(2, 3, 7, 8), w(4, 3, 3, 3), activation="Tanh", auto_pad="SAME_UPPER"),
    conv(x(2, 4, 7, 8), w(4, 2, 3, 3), w(4), activation="Sigmoid", group=2, dilations=[2, 1]),
    conv(x(2, 3, 7, 8), w(4, 3, 3, 3), w(4), x(2, 4, 5, 6), activation="Relu"),
    conv(x(2, 3, 7, 8), w(4, 3, 3, 3), w(4), activation="LeakyRelu", activation_params=[0.2]),
    conv(x(2, 3, 7, 8), w(4, 3, 3, 3), w(4), activation="Clip", activation_params=[-1.0, 1.5]),
    conv(x(2, 3, 7, 8), w(4, 3, 3, 3), w(4), activation="HardSigmoid", activation_params=[0.3, 0.4]),
    microsoft("FusedGemm", x(4, 3), x(3, 5), x(5), activation="Relu", alpha=0.5, beta=2.0),
    microsoft("FusedGemm", x(4, 3), w(5, 3), w(5), activation="LeakyRelu", activation_alpha=0.3, transB=1),
    microsoft(
        "FusedGemm",
        x(4, 3),
        x(3, 5),
        x(5),
        activation="Celu",
        activation_alpha=0.6,
        oracle="onnxruntime",
        because="Celu has no float64 form before opset 28",
    ),
    *(
        microsoft(
            "FusedGemm", x(4, 3), x(3, 5), x(5), activation=kind, activation_alpha=0.5, activation_beta=1.2
        )
        for kind in ("ScaledTanh", "ParametricSoftplus")
    ),
    microsoft(
        "FusedGemm",
        x(4, 3),
        w(3, 5),
        activation="Selu",
        activation_alpha=0.5,
        activation_beta=2.0,
        activation_gamma=1.2,
    ),
    microsoft("FusedMatMul", x(2, 3, 4), x(2, 5, 4), transB=1, alpha=0.7),
    microsoft("FusedMatMul", x(2, 4, 3), x(4, 5), transA=1),
    microsoft("FusedMatMul", x(3, 2, 4), x(2, 4, 5), transBatchA=1),
    microsoft("FusedMatMul", x(4, 2, 3), x(5, 2, 4), transBatchA=1, transA=1, transBatchB=1, transB=1),
    *(microsoft("Gelu", x(3, 4), opset=opset) for opset in (18, 20)),
    microsoft("BiasGelu", x(3, 4), x(4)),
    *(microsoft("FastGelu", x(3, 4), opset=opset) for opset in (18, 20)),
    microsoft("FastGelu", x(3, 4), x(4)),
    microsoft("QuickGelu", x(3, 4)),
    microsoft("QuickGelu", x(3, 4), alpha=0.8),
    mha(x(2, 5, 8), x(2, 6, 8), x(2, 6, 8)),
    mha(x(2, 5, 8), x(2, 6, 8), x(2, 6, 12), scale=0.3),
    mha(x(2, 5, 8), x(2, 5, 8), x(2, 5, 8), w(24), MASK),
    mha(x(2, 5, 8), x(2, 5, 8), x(2, 5, 8), None, LENGTHS),
    mha(x(2, 5, 8), x(2, 5, 8), x(2, 5, 8), None, None, x(2, 2, 5, 5), label="added"),
    mha(x(2, 5, 8), x(2, 5, 8), x(2, 5, 8), None, None, x(1, 1, 5, 5), label="added to all"),
    mha(x(2, 5, 8), x(2, 5, 8), x(2, 5, 8), unidirectional=1),
    mha(x(2, 5, 8), x(2, 2, 6, 4), x(2, 2, 6, 4), label="keys with heads"),
    *(
        mha(x(2, 4, 8), x(2, n, 8), x(2, n, 8), unidirectional=1, label="keys of another length")
        for n in (3, 6)
    ),
    mha(x(2, 4, 8), x(2, 5, 8), x(2, 5, 8), None, None, None, *PAST, unidirectional=1, outputs="fff"),
    mha(x(2, 4, 8), x(2, 5, 8), x(2, 5, 8), None, None, x(1, 2, 4, 8), *PAST, outputs="ffff", label="scores"),
    mha(x(2, 5, 8), x(2, 5, 8), x(2, 5, 8), w(24), MASK, outputs="f--f", mask_filter_value=-5.0),
    attention(x(2, 5, 6), w(6, 24), w(24)),
    attention(x(2, 5, 6), w(6, 24), w(24), MASK),
    attention(x(2, 5, 6), w(6, 24), w(24), feed([[0]], np.int32), label="mask of one number"),
    attention(x(2, 5, 6), w(6, 24), w(24), feed([[1], [0]], np.int32), label="mask of one number a row"),
    attention(x(2, 5, 6), w(6, 24), w(24), LENGTHS, unidirectional=1, scale=0.4),
    attention(x(2, 5, 6), w(6, 24), w(24), feed([4, 5, 0, 2], np.int32), label="ends and starts"),
    attention(x(2, 5, 6), w(6, 28), w(28), qkv_hidden_sizes=[8, 8, 12]),
    attention(x(2, 5, 6), w(6, 24), w(24), None, None, x(2, 2, 5, 5)),
    mha(x(2, 1, 8), x(2, 1, 8), x(2, 1, 8), None, None, None, *PAST, outputs="fff"),
    mha(x(2, 2, 8), x(2, 2, 8), x(2, 2, 8), None, None, None, *PAST, unidirectional=1, outputs="fff"),
    attention(x(2, 1, 6), w(6, 24), w(24), None, x(2, 2, 2, 3, 4), outputs="ff"),
    attention(x(2, 2, 6), w(6, 24), w(24), MASK, x(2, 2, 2, 3, 4), unidirectional=1, outputs="ff"),
    *(
        nhwc(x(2, 5, 6, 3), w(4, 3, 2, 3), *rest, formula=lambda a, b, c=None: nhwc_conv(a, b, c))
        for rest in ([w(4)], [])
    ),
    nhwc(x(2, 5, 6, 4), w(6, 3, 2, 2), group=2, formula=grouped_conv),
    microsoft("BiasSplitGelu", x(2, 3, 8), x(8), formula=bias_split_gelu),
    microsoft("BiasAdd", x(2, 3, 8), x(8), x(2, 3, 8), formula=lambda a, b, c: [a + b + c]),
    microsoft("BiasSoftmax", x(2, 2, 5, 5), x(2, 1, 5, 5), axis=3, is_inner_broadcast=1, formula=softmax),
    microsoft("BiasSoftmax", x(2, 2, 3, 4), x(1, 3, 4), axis=2, is_inner_broadcast=0, formula=softmax_2),
    microsoft("ScaledSiLU", x(2, 3, 4), alpha=1.3),
    microsoft("ScaledSiLU", x(2, 3, 4), w()),
    microsoft("GatedAdd", x(2, 3, 4), x(2, 3, 4), x(2, 3, 1)),
    microsoft("Trilu", x(2, 3, 4), const(1)),
    *(
        microsoft("GridSample", x(2, 2, 4, 3), x(2, 3, 5, 2, low=-0.9, high=0.9), opset=opset)
        for opset in (18, 20)
    ),
    microsoft("CDist", x(5, 3), x(4, 3)),
    microsoft("CDist", x(5, 3), w(4, 3), metric="euclidean"),
]
