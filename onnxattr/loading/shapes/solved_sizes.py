"""Sizes of Reshapes that inference leaves open, and that follow from the number of elements staying the same."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import onnx

from onnxattr.graph.values import UNKNOWN
from onnxattr.loading.shapes.declared import dims_in, scopes

Dim = int | str | None


def solve_sizes(inferred: onnx.ModelProto) -> None:
    """Replaces open names of dimensions by what they are, in place.

    A Reshape of (N, 32) to (-1, 32, 1, 1) gives (N, 32, 1, 1), where onnx's inference gives its first axis a new name
    that equals no other, and so does every broadcast behind it, which would have to be looked at when the model runs.

    Args:
        inferred: A model after inference, its nodes in order.
    """
    given = {dim for value in inferred.graph.input for dim in dims_in(value.type) or []}
    solved: dict[str, Dim] = {}
    for graph, scope in scopes(inferred.graph):
        for node in graph.node:
            rule = SIZE_RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            names = [node.output[0], *node.input] if rule else []
            shapes = [dims_in(scope[name]) for name in names if name in scope]
            if rule is None or len(shapes) < len(names) or None in shapes:
                continue
            after, *before = ([_solved(dim, solved) for dim in shape or []] for shape in shapes)
            for position, dim in enumerate(after):
                if isinstance(dim, str) and dim.startswith(UNKNOWN) and dim not in given:
                    found = rule(after, position, before)
                    if found is not None and found != dim:
                        solved[dim] = found
    for dim in _all_dims(inferred.graph) if solved else ():
        if isinstance(found := solved.get(dim.dim_param), str):
            dim.dim_param = found
        elif found is not None:
            dim.dim_value = found


def _reshaped(after: Sequence[Dim], position: int, before: Sequence[Sequence[Dim]]) -> Dim:
    """The one open size of a Reshape: the number of elements stays."""
    return _quotient(before[0], [dim for k, dim in enumerate(after) if k != position])


def _broadcast(after: Sequence[Dim], position: int, before: Sequence[Sequence[Dim]]) -> Dim:
    """The size that all operands have there, but for those that have 1 or no such axis."""
    places = [position - len(after) + len(dims) for dims in before]
    sizes = {dims[k] for dims, k in zip(before, places, strict=True) if k >= 0} - {1}
    return sizes.pop() if len(sizes) == 1 else None


def _multiplied(after: Sequence[Dim], position: int, before: Sequence[Sequence[Dim]]) -> Dim:
    """A size of the stacks of matrices that MatMul multiplies."""
    stacks = [[*dims[:-2], 1, 1] for dims in before]
    matrices = all(len(dims) > 1 for dims in before) and position < len(after) - 2
    return _broadcast(after, position, stacks) if matrices else None


#: How the size of an axis follows: from the sizes of the output, the axis, and the sizes of all inputs.
SIZE_RULES = {"Reshape": _reshaped, "MatMul": _multiplied} | dict.fromkeys(
    """
    Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or Pow PRelu Sub Sum Where Xor
    """.split(),
    _broadcast,
)


def _quotient(before: Sequence[Dim], after: Sequence[Dim]) -> Dim:
    """What is left of a product of sizes divided by another, if it is one size; else None."""
    if not before or None in before or None in after:
        return None
    left = Counter(dim for dim in before if isinstance(dim, str))
    left.subtract(dim for dim in after if isinstance(dim, str))
    names = {name: power for name, power in left.items() if power}
    above, below = (math.prod(dim for dim in dims if isinstance(dim, int)) for dims in (before, after))
    if below == 0 or above == 0 or above % below:
        return None
    if not names:
        return above // below
    (name, power), *others = names.items()
    return name if not others and power == 1 and above == below else None


def _solved(dim: Dim, solved: dict[str, Dim]) -> Dim:
    return solved.get(dim, dim) if isinstance(dim, str) else dim


def _all_dims(graph: onnx.GraphProto) -> Iterator[onnx.TensorShapeProto.Dimension]:
    for inner, _ in scopes(graph):
        for value in (*inner.input, *inner.output, *inner.value_info):
            yield from value.type.tensor_type.shape.dim
