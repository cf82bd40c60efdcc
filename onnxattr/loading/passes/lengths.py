"""Lengths that a file calls by one name, told apart: they need not be equal.

ONNX Runtime runs a model whose encoder and decoder both have ``seq`` steps, of whatever lengths, and one that is given
something else than its images of ``size`` by ``size``. What is appended to it
must not take the lengths for equal: neither the rules, nor the runtime, which reuses the memory of values of one shape.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from onnxattr.graph.values import dims_of


def tell_lengths_apart(graph: onnx.GraphProto, rows: bool = True) -> None:
    """Gives every length of every input a symbol that no other has, in place.

    A first axis is the batch, and what is called like it is as long, unless ``rows`` is False: the first axes of a
    transformer that takes (T, N, C) are lengths too.
    """
    inputs = [value for value in graph.input if value.type.HasField("tensor_type")]
    dims = {value.name: value.type.tensor_type.shape.dim for value in inputs}
    batch = {axes[0].dim_param for axes in dims.values() if axes and rows}
    taken = {dim.dim_param for axes in dims.values() for dim in axes}
    met: set[str] = set()
    for name, axes in dims.items():
        for dim in axes[1 if rows else 0 :]:
            symbol = dim.dim_param
            if symbol in met:
                dim.dim_param = _fresh(f"{symbol}_of_{name}", taken)
            elif symbol and symbol not in batch:
                met.add(symbol)


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
