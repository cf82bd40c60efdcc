"""Values of a graph: all of them, and what is known of their shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_ir as ir

#: First part of the names of sizes that inference leaves open, that of ONNX's own inference.
UNKNOWN = "unk__"
#: Operators that lay the elements of their first input out otherwise and compute nothing: both hold the same numbers.
LAYOUTS = frozenset("Flatten Identity Reshape Squeeze Transpose Unsqueeze".split())


def values_of(graph: ir.Graph) -> Iterator[ir.Value]:
    """Yields every value of a graph and of its subgraphs: inputs, initializers, node outputs."""
    for part in (graph, *graph.subgraphs()):
        yield from part.inputs
        yield from part.initializers.values()
        for node in part:
            yield from node.outputs


def dims_of(value: ir.Value | None) -> list[int | str | None] | None:
    """Returns the dimensions of a value (int, symbol or None when unknown), or None if the rank is unknown."""
    shape = None if value is None else value.shape
    return None if shape is None else [dim if isinstance(dim, int) else dim.value for dim in shape.dims]


def shape_text(dims: Sequence[int | str | None] | None) -> str:
    """A shape as messages show it, (N, ?, 3): with ? for a size that only a run tells, (?) for an unknown rank."""
    if dims is None:
        return "(?)"
    sizes = ["?" if dim is None or str(dim).startswith(UNKNOWN) else str(dim) for dim in dims]
    return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"


def ints_of(value: ir.Value | None) -> list[int] | None:
    """The integers that a constant holds; None for other values."""
    if value is None or value.const_value is None:
        return None
    return [int(number) for number in value.const_value.numpy().reshape(-1)]


def numbers_of(value: ir.Value) -> list[float | None]:
    """The numbers that a vector holds, None for those that a run computes; up to a part of unknown length."""
    if value.const_value is not None:
        return [float(number) for number in value.const_value.numpy().flat]
    node, found = value.producer(), list[float | None]()
    for part in node.inputs if node is not None and node.op_type == "Concat" else [value]:
        dims = dims_of(part) or [None]
        if part is not None and part.const_value is not None:
            found += numbers_of(part)
        elif isinstance(dims[0], int):
            found += [None] * dims[0]
        else:
            break
    return found


def is_constant(value: ir.Value | None) -> bool:
    """Whether a value is an initializer, or computed from initializers alone: the runtime folds it at load."""
    waiting, seen = [value], {value}
    while waiting:
        current = waiting.pop()
        if current is None or current.const_value is not None:
            continue
        node = current.producer()
        if node is None or not node.inputs:
            return False
        new = [source for source in node.inputs if source not in seen]
        seen.update(new)
        waiting += new
    return True


def same_dims(a: ir.Value, b: ir.Value) -> bool:
    """Whether two values certainly have the same shape: two unknown dimensions need not be equal.

    A rule that gives one value the very Shape object of another states that they agree.
    """
    if a.shape is not None and a.shape is b.shape:
        return True
    dims = dims_of(a)
    return dims is not None and None not in dims and dims == dims_of(b)


def named_values(graph: ir.Graph) -> dict[str, ir.Value]:
    """The values of a graph and of its subgraphs by name; where names repeat, the outer one."""
    return {value.name: value for value in reversed(list(values_of(graph))) if value.name}
