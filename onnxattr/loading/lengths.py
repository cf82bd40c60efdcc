"""Lengths of the inputs that a file calls by one name, told apart: they need not be equal.

ONNX Runtime runs a model whose encoder and decoder both have ``seq`` steps, of whatever lengths. What is appended to it
must not take the lengths for equal: neither the rules, nor the runtime, which reuses the memory of values of one shape.
"""

from __future__ import annotations

from collections import Counter

import onnx


def tell_lengths_apart(graph: onnx.GraphProto) -> None:
    """Gives each axis of the inputs a symbol of its own, the first one apart: that is the batch; in place."""
    inputs = [value for value in graph.input if value.type.HasField("tensor_type")]
    dims = {value.name: value.type.tensor_type.shape.dim for value in inputs}
    names = Counter(dim.dim_param for axes in dims.values() for dim in axes if dim.dim_param)
    taken, met = set(names), {axes[0].dim_param for axes in dims.values() if axes}
    for name, axes in dims.items():
        for axis, dim in enumerate(axes):
            if axis == 0 or names[dim.dim_param] < 2:
                continue
            if dim.dim_param in met:
                symbol = f"{dim.dim_param}_of_{name}"
                while symbol in taken:
                    symbol += f"_{axis}"
                taken.add(symbol)
                dim.dim_param = symbol
            met.add(dim.dim_param)
