"""Names for sizes that inference leaves open, so that two values of the same unknown size are seen as equal.

A size has the name of what it is computed from: a dimension of another value, a product of such, or, where that is
unknown, the place where it came up first. Equal names mean equal sizes; different names say nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.graph.values import UNKNOWN, dims_of

Size = int | str
_PRODUCT = f"{UNKNOWN}*"
_SINGLE = frozenset("Identity Squeeze Unsqueeze Reshape Cast".split())
#: Types of the integers that sizes are computed in.
_COUNTS = (ir.DataType.INT64, ir.DataType.INT32)


def name_sizes(node: ir.Node) -> None:
    """Names the sizes of a typed node's outputs that inference left open."""
    for value in node.outputs:
        dims = dims_of(value)
        if dims is None or None not in dims:
            continue
        told = _told(node, len(dims)) or [None] * len(dims)
        value.shape = ir.Shape(
            [
                dim if dim is not None else size if size is not None else f"{UNKNOWN}{axis}_{value.name}"
                for axis, (dim, size) in enumerate(zip(dims, told, strict=True))
            ]
        )


def _told(node: ir.Node, rank: int) -> list[Size | None] | None:
    """What the sizes in a node's inputs say of its only output."""
    if node.op_type == "ConstantOfShape":
        sizes = contents(node.inputs[0])
    elif node.op_type == "Range":
        first, size, step = (contents(value) for value in node.inputs)
        sizes = size if first == [0] and step == [1] else None
    elif node.op_type == "Reshape":
        sizes = reshaped_sizes(node)
    elif node.op_type == "Expand":
        sizes = _expanded(node)
    else:
        return None
    return sizes if sizes is not None and len(sizes) == rank else None


def reshaped_sizes(node: ir.Node) -> list[Size | None] | None:
    """The sizes of what a Reshape gives, None for those that are unknown; None if their number is."""
    given, target = dims_of(node.inputs[0]), contents(node.inputs[1])
    if given is None or target is None or (node.attributes.get_int("allowzero", 0) == 1 and 0 in target):
        return None
    sizes: list[Size | None] = []
    for axis, size in enumerate(target):
        sizes.append(given[axis] if size == 0 and axis < len(given) else size)
    if -1 in sizes:
        place = sizes.index(-1)
        sizes[place] = quotient(given, [*sizes[:place], *sizes[place + 1 :]])
    return sizes


def _expanded(node: ir.Node) -> list[Size | None] | None:
    given, target = dims_of(node.inputs[0]), contents(node.inputs[1])
    if given is None or target is None:
        return None
    count = max(len(given), len(target))
    pairs = zip([1] * (count - len(given)) + given, [1] * (count - len(target)) + target, strict=True)
    return [b if a == 1 or a == b else a if b == 1 else None for a, b in pairs]


def product(sizes: Sequence[Size]) -> Size:
    """The name of a product of sizes; a number where they are numbers."""
    number, names = _split(sizes)
    return _named(number, names)


def quotient(whole: Sequence[Size | None], parts: Sequence[Size | None]) -> Size | None:
    """The size that makes up the product ``whole`` together with ``parts``; None if it is unknown."""
    if None in whole or None in parts:
        return None
    number, names = _split(whole)  # type: ignore[arg-type]
    divisor, others = _split(parts)  # type: ignore[arg-type]
    if divisor == 0 or number % divisor or others - names:
        return None
    return _named(number // divisor, names - others)


def _named(number: int, names: Counter[str]) -> Size:
    if not names or number == 0:
        return number
    if names.total() == 1 and number == 1:
        return next(iter(names))
    return _PRODUCT + "*".join([str(number), *sorted(names.elements())])


def _split(sizes: Sequence[Size]) -> tuple[int, Counter[str]]:
    """A product of sizes as a number and names, each as often as it is a factor."""
    number, names = 1, Counter[str]()
    for size in sizes:
        if isinstance(size, int):
            number *= size
        elif size.startswith(_PRODUCT):
            first, *rest = size.removeprefix(_PRODUCT).split("*")
            number *= int(first)
            names.update(rest)
        else:
            # A file may call a size as products are called here.
            names[size.replace("*", ".")] += 1
    return number, names


def contents(value: ir.Value | None) -> list[Size | None] | None:
    """The sizes that an integer vector or scalar holds, None for unknown ones; None if its length is unknown."""
    if value is None:
        return None
    tensor = value.const_value
    if tensor is not None:
        return (
            [int(n) for n in tensor.numpy().flat]
            if tensor.dtype in _COUNTS and tensor.size < 16 and len(tensor.shape) < 2
            else None
        )
    node = value.producer()
    if node is None or value.dtype not in _COUNTS:
        return None
    if "sizes" not in value.meta:
        value.meta["sizes"] = _contents(node)
    known: list[Size | None] | None = value.meta["sizes"]
    return known


def _contents(node: ir.Node) -> list[Size | None] | None:
    if node.op_type == "Shape":
        dims = dims_of(node.inputs[0])
        last = node.attributes.get_int("end", None)
        return None if dims is None else dims[node.attributes.get_int("start", 0) : last]
    first = contents(node.inputs[0]) if node.inputs else None
    if first is None:
        return None
    rank = len(dims_of(node.outputs[0]) or [])
    if node.op_type == "Concat":
        parts = [contents(part) for part in node.inputs]
        return None if None in parts else [size for part in parts for size in part or ()]
    if node.op_type in _SINGLE:
        return first if rank < 2 else None
    if node.op_type == "Gather":
        places = contents(node.inputs[1])
        inside = places is not None and all(
            isinstance(p, int) and -len(first) <= p < len(first) for p in places
        )
        return [first[p] for p in places] if inside and rank < 2 else None  # type: ignore[index, union-attr]
    if node.op_type == "Slice":
        ends = [contents(value) for value in (*node.inputs[1:3], *node.inputs[4:])]
        known = rank == 1 and all(end is not None and isinstance(end[0], int) for end in ends)
        return first[slice(*(end[0] for end in ends))] if known else None  # type: ignore[index, arg-type]
    if node.op_type in ("Max", "Min"):
        # Of operands that are the same; others differ in what a run decides.
        return first if all(contents(value) == first for value in node.inputs[1:]) else None
    if node.op_type in ("Mul", "ReduceProd"):
        factors = first if node.op_type == "ReduceProd" else [*first, *(contents(node.inputs[1]) or [None])]
        single = node.op_type == "ReduceProd" or len(factors) == 2
        counts = all(isinstance(f, str) or (isinstance(f, int) and f >= 0) for f in factors)
        return [product(factors)] if single and counts else None  # type: ignore[arg-type]
    if node.op_type == "Div":
        pair = [*first, *(contents(node.inputs[1]) or [None])]
        whole = len(pair) == 2 and all(isinstance(part, str) or (part or 0) > 0 for part in pair)
        return [f"{UNKNOWN}/{pair[0]}/{pair[1]}".replace("*", ".")] if whole else None
    return None
