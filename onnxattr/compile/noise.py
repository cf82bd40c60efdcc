"""Gaussian and uniform noise made inside the graph by a counter-based generator.

Every value is a function of (seed, row of the input, draw, element) alone, in exact integer arithmetic up to the last
step, so that a seed gives the same noise at any batch size, on any provider and in any runtime, to float rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxattr.compile.clean_up import finish
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import FINITE
from onnxattr.loading.passes.opsets import OPSET
from onnxattr.session import Session

#: Residues modulo this prime keep every product inside int64.
_PRIME = 2**31 - 1
#: Seeds below this number give different noise; greater ones are taken modulo it.
SEEDS = _PRIME
_ELEMENT, _OFFSET, _FACTOR, _SHIFT = 48271, 1103515245, 69069007, 1662860475


def normal_like(
    op: OpBuilder, like: ir.Value, seed: ir.Value, sample: ir.Value, draw: ir.Value, position: int = 0
) -> ir.Value:
    """Standard normal noise in the shape and dtype of a value.

    Args:
        op: Builder on the graph.
        like: Value of shape (R, ...).
        seed: int64 scalar.
        sample: int64 (R,), which row of the input each row belongs to.
        draw: int64 (R,), which draw each row is.
        position: Which of several explained values this is.

    Returns:
        Noise of the shape and dtype of ``like``: Box-Muller on two hashed uniforms per pair of elements.
    """
    rows = op.shape(like, 0, 1)
    elements = op.ReduceProd(op.shape(like, 1), keepdims=0)
    half = op.Div(op.Add(elements, 1), 2)
    # The number of elements once more, from the value itself: a known one would be folded into a table of all counters.
    counted = op.Div(op.Add(op.Div(op.Size(like), op.Squeeze(rows, [0])), 1), 2)
    uniform = _uniform(op, op.Mul(counted, 2), _row_key(op, seed, sample, draw, _NORMAL + position))
    middle = op.Reshape(half, [1])
    radius = op.Sqrt(op.Mul(op.Log(op.Slice(uniform, [0], middle, [1])), -2.0))
    angle = op.Mul(op.Slice(uniform, middle, [2**62], [1]), 2.0 * math.pi)
    pairs = op.Concat(op.Mul(radius, op.Cos(angle)), op.Mul(radius, op.Sin(angle)), axis=1)
    flat = op.Slice(pairs, [0], op.Reshape(elements, [1]), [1])
    noise = op.Reshape(flat, op.Concat(rows, op.shape(like, 1), axis=0))
    noise = op.cast_like(noise, like)
    noise.shape = like.shape
    # A uniform is above 0, which its nodes do not tell.
    return op.note_range(noise, FINITE)


def uniform_like(
    op: OpBuilder, like: ir.Value, seed: ir.Value, sample: ir.Value, draw: ir.Value, position: int = 0
) -> ir.Value:
    """Noise that is uniform between 0 and 1, float32, in the shape of a value; arguments as of ``normal_like``."""
    rows = op.shape(like, 0, 1)
    counted = op.Div(op.Size(like), op.Squeeze(rows, [0]))
    uniform = _uniform(op, counted, _row_key(op, seed, sample, draw, _UNIFORM + position))
    return op.Reshape(uniform, op.Concat(rows, op.shape(like, 1), axis=0))


def start_rows(
    op: OpBuilder, seed: ir.Value, sample: ir.Value, draw: ir.Value, members: int
) -> tuple[ir.Value, ir.Value]:
    """For each row a position, uniform between 0 and 1, float32 (R,), and one of some members, int64 (R,).

    The other arguments are those of ``normal_like``.
    """
    uniform = _uniform(op, op.constant(2, ir.DataType.INT64), _row_key(op, seed, sample, draw, _ROWS))
    position, share = (op.Squeeze(op.Slice(uniform, [n], [n + 1], [1]), [1]) for n in range(2))
    member = op.Cast(op.Floor(op.Mul(share, float(members))), to=ir.DataType.INT64.value)
    return position, op.Min(member, members - 1)


#: What keeps the draws for different purposes apart; the position of an explained value is added.
_ROWS, _NORMAL, _UNIFORM = 0, 7, 2**20


def _uniform(op: OpBuilder, count: ir.Value, key: ir.Value) -> ir.Value:
    """Numbers from 0 to 1, float32 (R, count), hashed from the keys of the rows and the positions in them."""
    key = op.Unsqueeze(key, [1])
    counter = op.Unsqueeze(op.Range(0, count, 1), [0])
    state = op.Mod(op.Add(key, op.Mul(counter, _ELEMENT)), _PRIME)
    first = op.Mod(op.Add(op.Mul(state, state), key), _PRIME)
    bits = op.Mod(op.Add(op.Mul(first, first), state), _PRIME)
    return op.Mul(op.Add(op.Cast(bits, to=ir.DataType.FLOAT.value), 0.5), 2.0**-31)


def _row_key(op: OpBuilder, seed: ir.Value, sample: ir.Value, draw: ir.Value, purpose: int) -> ir.Value:
    """Hashes seed, sample, draw and purpose into one residue a row."""
    state = op.Mod(op.Add(op.Mod(seed, _PRIME), 12345), _PRIME)
    for part in (sample, draw, op.constant(purpose, ir.DataType.INT64)):
        state = op.Mod(op.Add(op.Add(op.Mul(state, state), op.Mul(part, _ELEMENT)), _OFFSET), _PRIME)
        state = op.Mod(op.Add(op.Mul(state, _FACTOR), _SHIFT), _PRIME)
        state = op.Mod(op.Add(op.Mul(state, state), state), _PRIME)
    return state


def draw_noise(
    seed: int, shape: Sequence[int], nb_samples: int, first_row: int = 0, position: int = 0
) -> np.ndarray:
    """The standard normal noise that the methods draw, for checking them against another implementation.

    Args:
        seed: The method's seed.
        shape: Shape (N, ...) of the explained input.
        nb_samples: Number of draws.
        first_row: Position of the first row, when a long input is looked at in parts.
        position: Position of the explained value, when there are several.

    Returns:
        float32 array of shape (nb_samples, N, ...); the methods multiply it by their ``noise``.
    """
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="noise")
    op = OpBuilder(graph, OPSET, prefix="noise")
    rows = nb_samples * shape[0]
    like = op.input("like", ir.DataType.FLOAT, [rows, *shape[1:]])
    sample, draw = (op.input(name, ir.DataType.INT64, [rows]) for name in ("sample", "draw"))
    noise = normal_like(op, like, op.input("seed", ir.DataType.INT64, []), sample, draw, position)
    graph.outputs.append(noise)
    draws, samples = np.divmod(np.arange(rows, dtype=np.int64), shape[0])
    feeds = {"sample": samples + first_row, "draw": draws, "seed": np.array(seed, np.int64)}
    feeds["like"] = np.zeros((rows, *shape[1:]), np.float32)
    (made,) = Session(finish(ir.Model(graph, ir_version=8))).run(feeds)
    return made.reshape(nb_samples, *shape)


def draw_starts(
    seed: int, rows: int, nb_samples: int, members: int, first_row: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The positions and members of a background set that ``ExpectedGradients`` and ``GradientShap`` draw.

    Args:
        seed: The method's seed.
        rows: Number of rows of the explained input.
        nb_samples: Number of draws.
        members: Number of members of the set.
        first_row: Position of the first row, when a long input is looked at in parts.

    Returns:
        Positions between 0 and 1, float32, and the numbers of members, int64, both of shape (nb_samples, rows).
    """
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="starts")
    op = OpBuilder(graph, OPSET, prefix="starts")
    sample, draw = (op.input(name, ir.DataType.INT64, ["rows"]) for name in ("sample", "draw"))
    graph.outputs.extend(start_rows(op, op.input("seed", ir.DataType.INT64, []), sample, draw, members))
    draws, samples = np.divmod(np.arange(nb_samples * rows, dtype=np.int64), rows)
    feeds = {"sample": samples + first_row, "draw": draws, "seed": np.array(seed, np.int64)}
    alphas, chosen = Session(finish(ir.Model(graph, ir_version=8))).run(feeds)
    return alphas.reshape(nb_samples, rows), chosen.reshape(nb_samples, rows)
