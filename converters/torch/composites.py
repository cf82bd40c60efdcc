"""Functions of PyTorch that read sizes as numbers, which fixes the batch to the examples', without that."""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

from ..common.patching import Patch

_VERSION = "torch 2.13.0"
_WHY = "It reads sizes as numbers, which fixes the batch to that of the examples."


def _taken(original: Callable[..., Any], torch: Any) -> Callable[..., Any]:
    def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Any:
        if dim is None:
            return original(input, indices)
        axis = dim % input.ndim
        shapes = [[1 if at == axis else size for at, size in enumerate(t.shape)] for t in (input, indices)]
        shared = torch.broadcast_shapes(*shapes)
        wide, places = (
            t.expand([*shared[:axis], t.shape[axis], *shared[axis + 1 :]]) for t in (input, indices)
        )
        return wide.gather(axis, places)

    return take_along_dim


def _kronecker(original: Callable[..., Any], torch: Any) -> Callable[..., Any]:
    def kron(input: Any, other: Any) -> Any:
        rank = max(input.ndim, other.ndim)
        a, b = (t.reshape([1] * (rank - t.ndim) + list(t.shape)) for t in (input, other))
        shape = [m * n for m, n in zip(a.shape, b.shape, strict=True)]
        for axis in range(rank):
            a, b = a.unsqueeze(2 * axis + 1), b.unsqueeze(2 * axis)
        return (a * b).reshape(shape)

    return kron


def _slopes(original: Callable[..., Any], torch: Any) -> Callable[..., Any]:
    """Differences to both sides, and at the ends the slope of a line or parabola through 2 or 3, of even steps."""

    def gradient(input: Any, *, spacing: Any = None, dim: Any = None, edge_order: int = 1) -> Any:
        axes = list(range(input.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
        steps = 1.0 if spacing is None else spacing
        steps = list(steps) if isinstance(steps, (tuple, list)) else [steps] * len(axes)
        if edge_order not in (1, 2) or not all(isinstance(step, (int, float)) for step in steps):
            return original(input, spacing=spacing, dim=dim, edge_order=edge_order)
        return tuple(
            _slope(torch, input, axis, step, edge_order) for axis, step in zip(axes, steps, strict=True)
        )

    return gradient


def _slope(torch: Any, input: Any, axis: int, step: float, edge_order: int) -> Any:
    x = input.movedim(axis, -1)
    inner = (x[..., 2:] - x[..., :-2]) / (2 * step)
    first, last = (x[..., 1:2] - x[..., :1]) / step, (x[..., -1:] - x[..., -2:-1]) / step
    if edge_order == 2:
        first = 2 * first - inner[..., :1]
        last = 2 * last - inner[..., -1:]
    return torch.cat([first, inner, last], -1).movedim(-1, axis).contiguous()


def _chained(original: Callable[..., Any], torch: Any) -> Callable[..., Any]:
    return lambda tensors: reduce(torch.matmul, tensors)


def _norm(original: Callable[..., Any], torch: Any) -> Callable[..., Any]:
    """The largest or smallest sum of a column or of a row; other norms are PyTorch's."""

    def matrix_norm(
        A: Any,  # noqa: N803
        ord: Any = "fro",
        dim: Any = (-2, -1),
        keepdim: bool = False,
        **named: Any,
    ) -> Any:
        if named or ord not in (1, -1, math.inf, -math.inf):
            return original(A, ord, dim, keepdim, **named)
        rows, columns = (axis % A.ndim for axis in dim)
        summed, chosen = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = A.abs().sum(summed, keepdim=True)
        found = sums.amax(chosen, keepdim=True) if ord > 0 else sums.amin(chosen, keepdim=True)
        return found if keepdim else found.squeeze((rows, columns))

    return matrix_norm


def _in_order(original: bool, torch: Any) -> bool:
    return False


def _patch(owner: str, attribute: str, replacement: Callable[[Any, Any], Any], why: str = _WHY) -> Patch:
    return Patch("batch", owner, attribute, replacement, why, _VERSION, optional=True)


#: For the export of a batch of any size.
BATCHED = (
    _patch("torch", "take_along_dim", _taken),
    _patch("torch:Tensor", "take_along_dim", _taken),
    _patch("torch", "kron", _kronecker),
    _patch("torch:Tensor", "kron", _kronecker),
    _patch("torch", "gradient", _slopes),
    _patch("torch.linalg", "multi_dot", _chained),
    _patch("torch.linalg", "matrix_norm", _norm),
    _patch(
        "torch.backends.opt_einsum", "enabled", _in_order, "It orders the products of einsum by their sizes."
    ),
)
