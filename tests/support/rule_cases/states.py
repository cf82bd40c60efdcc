"""Rows of the com.microsoft operators of experts, of states that run over time, and of positions in pictures."""

import functools

import numpy as np

from support.rule_cases import const, microsoft, w, x

FIXED = {"dynamic": False}
RNG = np.random.default_rng(3)


experts = functools.partial(microsoft, "MoE", **FIXED)
PAIR = (w(5, 16, 6), w(5, 16), w(5, 6, 16), w(5, 6))
#: Twice as wide: gates and what they open.
GATED = (w(5, 32, 6), w(5, 32), w(5, 6, 16), w(5, 6))
few = functools.partial(microsoft, "QMoE", k=2, **FIXED)


def packed(*shape):
    return const(RNG.integers(0, 256, shape), np.uint8)


def scale(*shape):
    return w(*shape, low=0.01, high=0.03)


TOKENS, BIASES = (x(4, 32), x(4, 5)), (w(5, 48), w(5, 32))
#: Of 4 bits, with a scale for each row or for each block of 16.
ROWS = (packed(5, 48, 16), scale(5, 48), BIASES[0], packed(5, 32, 24), scale(5, 32), BIASES[1])
BLOCKS = (packed(5, 96, 16), scale(5, 96, 2), None, packed(5, 32, 24), scale(5, 32, 3))
GLU = {"activation_type": "swiglu", "swiglu_fusion": 1, "activation_alpha": 1.7, "activation_beta": 1.0}
BYTES = (packed(5, 48, 32), scale(5, 48), None, packed(5, 32, 48), scale(5, 32), *[None] * 4)
SHARES = x(4, 5, low=0.1, high=1.0)
turned = functools.partial(microsoft, "MRotaryEmbedding", **FIXED)
PLACES, ANGLES = const(RNG.integers(0, 9, (3, 2, 5))), (w(10, 4), w(10, 4))
attention = functools.partial(microsoft, "LinearAttention", outputs="ff", **FIXED)
GATE, RATE = x(2, 4, 2, low=-2.0, high=-0.1), x(2, 4, 2, low=0.1, high=0.9)
NARROW = (x(2, 4, 6), x(2, 4, 6), x(2, 4, 10))
convolution = functools.partial(microsoft, "CausalConvWithState", outputs="ff", **FIXED)

CASES = [
    experts(x(4, 6), x(4, 5), *PAIR, k=2),
    experts(x(4, 6), x(4, 5), *PAIR, k=2, normalize_routing_weights=1, activation_type="silu"),
    experts(x(2, 3, 6), x(6, 5), PAIR[0], None, PAIR[2], activation_type="gelu"),
    experts(x(4, 6), x(4, 5), *GATED, k=3, activation_type="swiglu", swiglu_fusion=1, activation_alpha=1.7,
            activation_beta=1.0, swiglu_limit=0.7),
    few(*TOKENS, *ROWS),
    few(*TOKENS, *ROWS, *[None] * 3, packed(5, 24), packed(5, 16), activation_type="silu", label="zero points"),
    few(x(2, 2, 32), x(4, 5), *BLOCKS, block_size=16, swiglu_limit=0.7, **GLU),
    few(*TOKENS, *BLOCKS, *[None] * 4, packed(5, 96, 1), packed(5, 32, 2), block_size=16, accuracy_level=1,
        normalize_routing_weights=1, **GLU, label="zero points"),
    few(*TOKENS, *BYTES, packed(5, 48), packed(5, 32), activation_type="gelu", expert_weight_bits=8),
    *(few(*TOKENS, *BYTES, None, None, None, SHARES, expert_weight_bits=8, normalize_routing_weights=k, label="shares")
      for k in (0, 1)),
    turned(x(2, 2, 5, 8), PLACES, *ANGLES, mrope_section=[1, 2, 1]),
    turned(x(2, 5, 16), PLACES, *ANGLES, mrope_section=[2, 1, 1], mrope_layout=1, num_heads=2, scale=0.5),
    turned(x(2, 5, 20), PLACES, *ANGLES, mrope_section=[2, 1, 1], num_heads=2, rotary_embedding_dim=8, interleaved=1,
           scale=0.5),
    attention(*NARROW, q_num_heads=2, kv_num_heads=2, update_rule="linear"),
    attention(*NARROW, None, GATE, q_num_heads=2, kv_num_heads=2, update_rule="gated", chunk_size=16),
    attention(*NARROW, x(2, 2, 3, 5), None, RATE, q_num_heads=2, kv_num_heads=2, update_rule="delta", scale=0.7),
    attention(*NARROW, None, x(2, 4, 6, low=-2.0, high=-0.1), x(2, 4, 1), q_num_heads=2, kv_num_heads=2),
    attention(x(2, 4, 12), *NARROW[1:], None, GATE, RATE, q_num_heads=4, kv_num_heads=2),
    attention(x(2, 4, 3), *NARROW[1:], None, GATE, RATE, q_num_heads=1, kv_num_heads=2),
    microsoft("LinearAttentionGate", x(2, 3, 4), w(4), w(4), x(2, 3, 4), outputs="ff"),
    convolution(x(2, 3, 5), w(3, 1, 4), w(3)),
    convolution(x(2, 3, 2), w(3, 1, 3), None, x(2, 3, 4), dilation=2, activation="silu"),
    convolution(x(2, 5, 3, 2), w(6, 1, 3), w(6), x(2, 2, 3, 2), channels_last=1),
]  # fmt: skip
