"""Names of weights that ONNX Runtime gives to shapes of its own, in files that it has saved."""

from __future__ import annotations

import re

import onnx_ir as ir

from onnxattr.graph.subgraphs import Names
from onnxattr.graph.values import values_of

_SHAPES = re.compile(r"gemm_(in|out)put_shape(_token_\d+)?")


def rename_saved_shapes(graph: ir.Graph) -> bool:
    """Renames shapes that ONNX Runtime 1.32 wrote when it saved the file, in place; whether there were any.

    Where it joins a product and a sum to one Gemm it writes them without a look at the weights that are there, and
    refuses the model if one has the name. Such pairs are new where Attention, BiasGelu and others are written out.
    """
    known = [*graph.inputs, *graph.outputs]
    found = [
        value for name, value in graph.initializers.items() if _SHAPES.fullmatch(name) and value not in known
    ]
    taken = Names(value.name for value in values_of(graph) if value.name) if found else None
    for value in found:
        assert taken is not None
        del graph.initializers[str(value.name)]
        value.name = taken.fresh(f"saved_{value.name}")
        graph.initializers[value.name] = value
    return bool(found)
