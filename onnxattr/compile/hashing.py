"""Random residues made inside the graph: a function of a seed, a sample, a draw and an element, computed in int32.

No integer that is divided reaches 2^24, so that runtimes that divide integers in float32, as OpenVINO does, or that
have no 64-bit integers, as WebGPU has none, get the same numbers. The one step that everything is made of,

    x' = (x^2 + y + k) mod p,  y' = x

is invertible for every k, and after a few of them each residue depends on every bit of where it started and of each k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder

#: p: the greatest prime for which p^2 + p stays below 2^24.
PRIME = 4093
#: As many pairs of residues as there are.
PAIRS = PRIME**2
#: Seeds below this number give different keys; greater ones are taken modulo it.
SEEDS = 2**31 - 1
#: Steps of an element before the key of its row comes in.
_COMMON = 3
#: Words of a key are residues; they come in pairs, each hashed beside the others.
_COLUMNS = 2
INT32 = ir.DataType.INT32


def row_keys(
    op: OpBuilder, seed: ir.Value, sample: ir.Value, draw: ir.Value, purpose: int
) -> Sequence[ir.Value]:
    """The key of each row: four residues, int32 (R, 1).

    Args:
        op: Builder on the graph.
        seed: int64 scalar.
        sample: int64 (R,), at least 0; numbers below 6.8e10 give different keys.
        draw: int64 (R,), at least -1; numbers below 1.6e7 give different keys.
        purpose: What is drawn, 0 to ``PAIRS`` - 1: other purposes get other keys.
    """
    higher, first = _split(op, op.cast(_split(op, seed, SEEDS)[1], INT32), PRIME)
    third, second = _split(op, higher, PRIME, small=True)
    x, y = _step(op, first, op.constant([_start(purpose)], INT32), second)
    x, y = _step(op, x, y, third)
    samples, draws = (
        [op.cast(part, INT32) for part in _split(op, op.Unsqueeze(number, [1]), PRIME, small=True)]
        for number in (sample, op.Add(draw, 1))
    )
    for known in (samples[1], draws[1], samples[0], draws[0], op.Div(samples[0], PRIME), None):
        x, y = _step(op, x, y, known)
    return [word for part in (x, y) for word in op.operator("Split", part, [1, 1], axis=1, outputs=_COLUMNS)]


def elements(op: OpBuilder, count: ir.Value, keys: Sequence[ir.Value], few: bool = False) -> ir.Value:
    """Integers from 0 to ``PAIRS`` - 1, int32 (R, count), all equally likely; in a row, as many differ as there are.

    Args:
        op: Builder on the graph.
        count: int64 scalar, how many to make for each row.
        keys: The keys of the rows.
        few: Whether there are at most ``PAIRS``.
    """
    counter = op.Unsqueeze(op.Range(0, op.cast(count, INT32), 1), [0])
    y, x = _split(op, counter, PRIME, small=few)
    # The first step takes the higher part modulo p; what that loses comes in at the second one.
    lost = None if few else op.Div(y, PRIME)
    for number in range(_COMMON):
        x, y = _step(op, x, y, lost if number == 1 else _constant(number))
    before, first, *others = keys
    y, x = x, _step(op, op.Sub(x, before), y, first)[0]
    for key in others:
        x, y = _step(op, x, y, key)
    return op.Add(op.Mul(x, PRIME), y)


def _step(
    op: OpBuilder, x: ir.Value, y: ir.Value, known: ir.Value | int | None = None
) -> tuple[ir.Value, ir.Value]:
    """(x, y) -> ((x^2 + y + k) mod p, x)."""
    added = y if known is None else op.Add(y, known)
    return _split(op, op.Add(op.Mul(x, x), added), PRIME, small=True)[1], x


def _split(op: OpBuilder, value: ir.Value, by: int, small: bool = False) -> tuple[ir.Value, ir.Value]:
    """Quotient and remainder; ``small`` says that the value is at least 0, and below 2^24 where float32 divides.

    A greater value is rounded where integers are divided in float32. The quotient may then be 1 too large, which shows
    in a remainder below 0. That of a negative value is below 0 as well; both get the remainder between 0 and ``by``.
    """
    quotient = op.Div(value, by)
    remainder = op.Sub(value, op.Mul(quotient, by))
    if small:
        return quotient, remainder
    below = op.cast_like(op.Less(remainder, 0), value)
    return op.Sub(quotient, below), op.Add(remainder, op.Mul(below, by))


def _start(purpose: int) -> list[int]:
    """Where the columns of a key start: other residues in each for every purpose."""
    low, high = purpose % PRIME, purpose // PRIME
    return [(_constant(10) + low + 2 * high) % PRIME, (_constant(11) + 3 * low + 5 * high) % PRIME]


def _constant(number: int) -> int:
    """A residue of no pattern: 40 binary digits of a square root, modulo p."""
    return math.isqrt((number + 2) << 80) % PRIME
