"""Lengths that a file calls by one name, told apart: they need not be equal.

ONNX Runtime runs a model whose encoder and decoder both have ``seq`` steps, of whatever lengths, and one that is given
something else than its images of ``size`` by ``size``. What is appended to it
must not take the lengths for equal: neither the rules, nor the runtime, which reuses the memory of values of one shape.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.values import UNKNOWN, dims_of


def tell_lengths_apart(graph: ir.Graph, rows: bool = True) -> bool:
    """Gives every length of every input a symbol that no other has, in place; whether one is new.

    A first axis is the batch, and what is called like it is as long, unless ``rows`` is False: the first axes of a
    transformer that takes (T, N, C) are lengths too.
    """
    dims = {value: dims_of(value) or [] for value in graph.inputs}
    batch = {axes[0] for axes in dims.values() if axes and rows}
    taken = {dim for axes in dims.values() for dim in axes if isinstance(dim, str)}
    met: set[str] = set()
    changed = False
    for value, axes in dims.items():
        for axis, symbol in enumerate(list(axes)):
            if not isinstance(symbol, str) or (axis == 0 and rows):
                continue
            if symbol in met:
                axes[axis] = _fresh(f"{symbol}_of_{value.name}", taken)
                value.shape = ir.Shape(axes)
                changed = True
            elif symbol not in batch:
                met.add(symbol)
        if None in axes:
            # Lengths without a name would equal nothing, themselves neither.
            named = [
                _fresh(f"{UNKNOWN}{k}_{value.name}", taken) if dim is None else dim
                for k, dim in enumerate(axes)
            ]
            value.shape = ir.Shape(named)
            changed = True
    return changed


def share_first_axis(graph: ir.Graph) -> bool:
    """Whether the first axes of several inputs have one name."""
    firsts = [dims[0] for value in graph.inputs if (dims := dims_of(value))]
    names = [first for first in firsts if isinstance(first, str)]
    return len(set(names)) < len(names)


def _fresh(symbol: str, taken: set[str]) -> str:
    """A symbol that no axis has yet, noted as taken."""
    while symbol in taken:
        symbol += "_"
    taken.add(symbol)
    return symbol
