"""Rows of the com.microsoft operators of language models: rotation, grouped attention and weights of few bits.

Their forward pass is ONNX Runtime's own kernel; onnx's evaluator runs what they are written out as.
"""

import functools

import ml_dtypes
import numpy as np
import onnxruntime

from support.rule_cases import const, feed, microsoft, w, x

FIXED = {"dynamic": False}
FOUR = {
    "opset": 21,
    "oracle": "onnxruntime",
    "because": "onnx's evaluator has no blocks of four bits in float64",
}
RNG = np.random.default_rng(11)
#: Each row has as many keys as the longest; the second input is that length.
LAST, TOTAL = feed([4, 4], np.int32), const(5, np.int32)
#: Rows that end before the longest.
SHORT = feed([2, 4], np.int32)
#: ONNX Runtime 1.31 leaves the scores behind the end of a row as they happen to be.
SCORED = SHORT if tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 32) else LAST
ANGLES = (w(10, 8), w(10, 8))
APART = (x(2, 5, 32), x(2, 5, 16), x(2, 5, 16))
ONE = (x(2, 1, 32), x(2, 1, 16), x(2, 1, 16))
PAST = (x(2, 2, 4, 8), x(2, 2, 4, 8))
WIDE = (x(2, 5, 64), x(2, 5, 32), x(2, 5, 32))
NONE = (None, None)


def few_bits(*shape):
    return const(RNG.integers(0, 256, shape), np.uint8)


def four_bits(*shape):
    return const(RNG.integers(-8, 8, shape), ml_dtypes.int4)


gqa = functools.partial(microsoft, "GroupQueryAttention", num_heads=4, kv_num_heads=2, symbolic_axis=0)
matmul = functools.partial(microsoft, "MatMulNBits", K=40, N=6, block_size=16)


bnb4 = functools.partial(microsoft, "MatMulBnb4")
GROUPS = const(RNG.permutation(np.arange(40) // 16), np.int32)


def rows(table, *rest, **settings):
    return microsoft("GatherBlockQuantized", table, feed([[1, 4, 2]]), *rest, block_size=16, **settings)


CASES = [
    microsoft("RotaryEmbedding", x(2, 5, 16), const([[0, 1, 2, 3, 4], [9, 8, 3, 4, 7]]), w(10, 4), w(10, 4)),
    microsoft("RotaryEmbedding", x(2, 5, 16), const([3]), w(10, 4), w(10, 4), interleaved=1),
    microsoft("RotaryEmbedding", x(2, 2, 5, 8), const([3]), w(10, 4), w(10, 4)),
    gqa(*APART, *NONE, LAST, TOTAL),
    gqa(*APART, *NONE, LAST, TOTAL, label="present", outputs="fff"),
    gqa(x(2, 5, 64), None, None, *NONE, LAST, TOTAL, label="packed"),
    gqa(*APART, *NONE, LAST, TOTAL, scale=0.3, softcap=0.7),
    gqa(*APART, *NONE, LAST, TOTAL, softcap=-0.5, label="cap below 0"),
    gqa(*APART, *NONE, LAST, TOTAL, local_window_size=2),
    gqa(*APART, *NONE, LAST, TOTAL, smooth_softmax=1),
    gqa(*APART, *NONE, LAST, TOTAL, *NONE, None, None, x(4), label="sinks"),
    gqa(*APART, *NONE, LAST, TOTAL, *NONE, None, x(2, 4, 5, 5), label="added", **FIXED),
    gqa(*APART, *NONE, LAST, TOTAL, *NONE, None, x(1, 1, 5, 5), label="added to all", **FIXED),
    gqa(*APART, *NONE, SHORT, TOTAL, causal=0),
    gqa(*APART, *NONE, SHORT, TOTAL, label="short"),
    gqa(*APART, *NONE, SHORT, TOTAL, *NONE, None, None, x(4), label="short, sinks"),
    gqa(*APART, *NONE, SHORT, TOTAL, local_window_size=2, smooth_softmax=1, label="short, in a window"),
    gqa(*APART, *NONE, SHORT, TOTAL, *NONE, None, x(2, 4, 5, 5), softcap=0.7, label="short, added", **FIXED),
    gqa(*WIDE, *NONE, SHORT, TOTAL, *ANGLES, do_rotary=1, label="short"),
    gqa(*WIDE, *NONE, LAST, TOTAL, *ANGLES, do_rotary=1),
    gqa(*WIDE, *NONE, LAST, TOTAL, *ANGLES, const([[2, 3, 4, 5, 6]] * 2), do_rotary=1, rotary_interleaved=1),
    gqa(*ONE, *PAST, LAST, TOTAL, outputs="fff"),
    gqa(*ONE, *PAST, LAST, TOTAL, *NONE, None, x(2, 4, 1, 5), label="added", outputs="fff", **FIXED),
    gqa(x(1, 3, 64), x(1, 3, 32), x(1, 3, 32), x(1, 2, 4, 16), x(1, 2, 4, 16), feed([6], np.int32),
        const(7, np.int32), *ANGLES, do_rotary=1, outputs="fff"),
    gqa(x(2, 1, 64), x(2, 1, 32), x(2, 1, 32), x(2, 2, 4, 16), x(2, 2, 4, 16), LAST, TOTAL, *ANGLES,
        const([[4], [4]]), do_rotary=1, outputs="fff"),
    gqa(*ONE, *PAST, feed([2, 4], np.int32), TOTAL, outputs="fff", label="zeros behind a row", **FIXED),
    gqa(*ONE, *PAST, LAST, TOTAL, outputs="ffff", qk_output=2, **FIXED),
    *(gqa(*APART, *NONE, SCORED, TOTAL, *NONE, None, None, x(4), outputs="ffff", qk_output=k, softcap=0.7, **FIXED)
      for k in (1, 2)),
    matmul(x(2, 3, 40), few_bits(6, 3, 8), w(6, 3)),
    matmul(x(2, 3, 40), few_bits(6, 3, 8), w(18), few_bits(6, 2), None, x(6), label="zero points, bias"),
    matmul(x(2, 40), few_bits(6, 3, 8), w(6, 3), w(6, 3, low=0.0, high=15.0), label="float zero points"),
    matmul(x(2, 40), few_bits(6, 3, 16), w(6, 3), few_bits(6, 3), bits=8),
    matmul(x(2, 40), few_bits(6, 3, 4), w(6, 3), few_bits(6, 1), bits=2),
    matmul(x(2, 40), few_bits(6, 3, 8), w(6, 3), None, GROUPS, label="groups"),
    matmul(x(2, 40), few_bits(6, 3, 8), w(6, 3), w(6, 3, low=0.0, high=15.0), GROUPS, label="groups, zero points"),
    *(bnb4(x(2, 3, 32), few_bits(64), w(4), K=32, N=4, block_size=32, quant_type=kind) for kind in (0, 1)),
    bnb4(x(2, 7), few_bits(18), w(3), K=7, N=5, block_size=16, quant_type=1, label="blocks across rows"),
    rows(few_bits(5, 20), x(5, 3)),
    rows(few_bits(5, 20), x(5, 3), few_bits(5, 2), label="zero points"),
    rows(few_bits(5, 40), x(5, 3), few_bits(5, 3), bits=8),
    rows(four_bits(5, 40), x(5, 3), label="int4", **FOUR),
    rows(four_bits(5, 40), x(5, 3), four_bits(5, 3), label="int4, zero points", **FOUR),
    rows(four_bits(32, 5), x(2, 5), four_bits(2, 5), quantize_axis=0, gather_axis=1, label="int4, axis 1", **FOUR),
]  # fmt: skip
