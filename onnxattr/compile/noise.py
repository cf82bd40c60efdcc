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
from onnxattr.compile.hashing import PAIRS, SEEDS, elements, row_keys
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import FINITE
from onnxattr.graph.values import dims_of
from onnxattr.loading.passes.opsets import OPSET
from onnxattr.session import Session

__all__ = ["SEEDS", "VERSION", "draw_noise", "draw_starts", "normal_like", "start_rows", "uniform_like"]

#: Of the generator, told in the metadata of an explainer. The first one computed in int64.
VERSION = 2
#: What keeps the draws for different purposes apart; the position of an explained value is added.
_ROWS, _NORMAL, _UNIFORM = 0, 7, 2**20
#: sin(2 pi s) = s * (c0 + c1 s^2 + ...) for |s| <= 1/4, to 3e-8.
_SINE = (6.28318528, -41.34168061, 81.60247637, -76.58117264, 39.75982707)
#: Above this a logarithm is a series: those of runtimes are right to 5e-7, which is much where they are near 0.
_NEAR = 0.75


def normal_like(
    op: OpBuilder, like: ir.Value, seed: ir.Value, sample: ir.Value, draw: ir.Value, position: int = 0
) -> ir.Value:
    """Standard normal noise in the shape and dtype of a value.

    Args:
        op: Builder on the graph.
        like: Value of shape (R, ...).
        seed: int64 scalar.
        sample: int64 (R,), which row of the input each row belongs to.
        draw: int64 (R,), which draw each row is; -1 where what is drawn is not used.
        position: Which of several explained values this is.

    Returns:
        Noise of the shape and dtype of ``like``: Box-Muller on two hashed uniforms per pair of elements.
    """
    count = _count(op, like)
    half = op.Div(op.Add(count, 1), 2)
    keys = row_keys(op, seed, sample, draw, _NORMAL + position)
    made = elements(op, op.Mul(half, 2), keys, _few(like))
    middle = op.Reshape(half, [1])
    radius = _radius(op, op.Slice(made, [0], middle, [1]))
    pairs = op.Mul(op.Unsqueeze(radius, [1]), _cosine_and_sine(op, op.Slice(made, middle, [2**62], [1])))
    flat = op.Slice(op.Flatten(pairs, axis=1), [0], op.Reshape(count, [1]), [1])
    noise = op.cast_like(_shaped(op, flat, like), like)
    noise.shape = like.shape
    # A uniform is above 0, which its nodes do not tell.
    return op.note_range(noise, FINITE)


def uniform_like(
    op: OpBuilder, like: ir.Value, seed: ir.Value, sample: ir.Value, draw: ir.Value, position: int = 0
) -> ir.Value:
    """Noise that is uniform between 0 and 1, float32, in the shape of a value; arguments as of ``normal_like``."""
    keys = row_keys(op, seed, sample, draw, _UNIFORM + position)
    return _shaped(op, _share(op, elements(op, _count(op, like), keys, _few(like))), like)


def start_rows(
    op: OpBuilder, seed: ir.Value, sample: ir.Value, draw: ir.Value, members: int
) -> tuple[ir.Value, ir.Value]:
    """For each row a position, uniform between 0 and 1, float32 (R,), and one of some members, int64 (R,).

    The other arguments are those of ``normal_like``.
    """
    made = elements(op, op.constant(2, ir.DataType.INT64), row_keys(op, seed, sample, draw, _ROWS), few=True)
    position, share = (op.Squeeze(op.Slice(_share(op, made), [n], [n + 1], [1]), [1]) for n in range(2))
    member = op.Cast(op.Floor(op.Mul(share, float(members))), to=ir.DataType.INT64.value)
    return position, op.Min(member, members - 1)


def _count(op: OpBuilder, like: ir.Value) -> ir.Value:
    """The number of elements of a row, from the value itself: a known one would be folded into a table of counters."""
    rows = op.Max(op.Squeeze(op.shape(like, 0, 1), [0]), 1)  # an empty batch has none to divide by
    return op.Div(op.Size(like), rows)


def _few(like: ir.Value) -> bool:
    """Whether a row is known to have fewer elements than there are pairs of residues."""
    dims = (dims_of(like) or [None])[1:]
    return all(isinstance(dim, int) for dim in dims) and math.prod(map(int, dims)) < PAIRS  # type: ignore[arg-type]


def _shaped(op: OpBuilder, flat: ir.Value, like: ir.Value) -> ir.Value:
    return op.reshape_rows(flat, op.Concat(op.shape(like, 0, 1), op.shape(like, 1), axis=0), like)


def _share(op: OpBuilder, made: ir.Value) -> ir.Value:
    """u = (made + 1) / ``PAIRS``, above 0 and at most 1, in float32."""
    return op.Mul(op.Cast(op.Add(made, 1), to=ir.DataType.FLOAT.value), 1 / PAIRS)


def _radius(op: OpBuilder, made: ir.Value) -> ir.Value:
    """r = sqrt(-2 log(u)).

    Near 1 with z = (1 - u) / (1 + u), -2 log(u) = 4 (z + z^3 / 3 + z^5 / 5 + z^7 / 7), and 1 - u from the integers.
    """
    above = op.Mul(op.Cast(op.Sub(PAIRS - 1, made), to=ir.DataType.FLOAT.value), 1 / PAIRS)
    z = op.Div(above, op.Sub(2.0, above))
    near = op.Mul(z, _polynomial(op, op.Mul(z, z), (4, 4 / 3, 4 / 5, 4 / 7)))
    far = op.Mul(op.Log(_share(op, made)), -2.0)
    # Both are finite and 0 or more, so that a weight of 0 takes one out; Where takes several times as long.
    is_near = op.Cast(op.Less(above, 1 - _NEAR), to=ir.DataType.FLOAT.value)
    return op.Sqrt(op.Add(op.Mul(is_near, near), op.Mul(op.Sub(1.0, is_near), far)))


def _cosine_and_sine(op: OpBuilder, made: ir.Value) -> ir.Value:
    """cos(2 pi u) and sin(2 pi u), (R, 2, n): the sine of a quarter turn at most, |u - 1/2| - 1/4 and its like.

    Written out, as the sine of some runtimes is off by 2e-4.
    """
    u = _share(op, made)
    for_sine = op.Abs(op.Sub(op.Abs(op.Sub(u, 0.25)), 0.5))
    folded = op.Concat(*(op.Unsqueeze(v, [1]) for v in (op.Abs(op.Sub(u, 0.5)), for_sine)), axis=1)
    quarter = op.Sub(folded, 0.25)
    return op.Mul(quarter, _polynomial(op, op.Mul(quarter, quarter), _SINE))


def _polynomial(op: OpBuilder, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
    """c0 + c1 x + c2 x^2 + ..."""
    *lower, result = coefficients
    total: ir.Value | float = result
    for coefficient in reversed(lower):
        total = op.Add(op.Mul(x, total), coefficient)
    return total  # type: ignore[return-value]


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
