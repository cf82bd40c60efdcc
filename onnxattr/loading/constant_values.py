"""The arrays that values always hold, where weights and static shapes alone decide them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.graph.operator_kinds import DRAWING, SIZES
from onnxattr.graph.schemas import evaluated
from onnxattr.graph.subgraphs import subgraphs_of
from onnxattr.graph.values import dims_of

#: Elements of a weight that is looked at and of a result that is computed, and bytes of all results together.
_LARGEST, _LARGEST_RESULT, _MOST_BYTES = 4096, 2**20, 2**27


class ConstantValues:
    """Looks up what values hold whatever the model is fed, if that is small and easily seen, and no text.

    Constant nodes have to be initializers. What was found is remembered: for as long as the graph stays as it is.
    """

    def __init__(self, opset: int):
        self._opset = opset
        self._found: dict[ir.Value, np.ndarray | None] = {}
        self._room = _MOST_BYTES

    def __call__(self, value: ir.Value | None) -> np.ndarray | None:
        """The array that a value always holds, or None."""
        if value is None:
            return None
        waiting = [value]
        while waiting:
            last = waiting[-1]
            missing = [] if last in self._found else [v for v in _looked_at(last) if v not in self._found]
            if not missing:
                waiting.pop()
                if last not in self._found:
                    self._found[last] = self._find(last)
            waiting += missing
        return self._found[value]

    def _find(self, value: ir.Value) -> np.ndarray | None:
        if value.const_value is not None:
            tensor = value.const_value
            return tensor.numpy() if tensor.size <= _LARGEST and tensor.dtype != ir.DataType.STRING else None
        node = value.producer()
        if node is None or node.domain not in ("", "ai.onnx") or node.op_type in DRAWING:
            return None
        if node.op_type in SIZES:
            sizes = _integers(_dims(node))
            return sizes if node.op_type == "Shape" or sizes is None else np.array(sizes.prod(), np.int64)
        if node.op_type in ("Gather", "Slice") and node.inputs[0] is not None:
            dims = _dims(node.inputs[0].producer())
            if dims is not None:
                return _integers(self._part(node, dims))
        sources = [source for source in node.inputs if source is not None]
        feeds = {str(source.name): array for source in sources if (array := self(source)) is not None}
        if not feeds or subgraphs_of(node) or len(feeds) < len({source.name for source in sources}):
            return None
        try:
            results = evaluated(node, self._opset, feeds, _LARGEST_RESULT)
        except Exception:
            # Whatever it stumbled over: what cannot be evaluated is not known.
            return None
        result = None if results is None else results[value.index() or 0]
        if not isinstance(result, np.ndarray) or result.dtype.kind in "OSUT" or result.nbytes > self._room:
            return None
        self._room -= result.nbytes
        return result

    def _part(self, node: Any, dims: np.ndarray) -> np.ndarray | None:
        """What a Gather or Slice picks from the dimensions that a Shape gives, not all of which need be known."""
        operands = [array for value in node.inputs[1:] if (array := self(value)) is not None]
        if len(operands) < len(node.inputs) - 1:
            return None
        if node.op_type == "Gather":
            return np.array(np.take(dims, operands[0]), object)
        if "starts" in node.attributes:  # before opset 10
            bounds = [node.attributes.get_ints(name)[0] for name in ("starts", "ends")]
        else:
            bounds = [int(operand.item()) for operand in (*operands[:2], *operands[3:])]
        return dims[slice(*bounds)]


def goes_on(body: ir.Graph, constants: ConstantValues) -> bool:
    """Whether a Loop's body never ends it."""
    go: Any = body.outputs[0]
    while (producer := go.producer()) is not None and producer.op_type == "Identity":
        go = producer.inputs[0]
    array = constants(go)
    return go is body.inputs[1] or (array is not None and bool(array))


def _looked_at(value: ir.Value) -> list[ir.Value]:
    """The values that must be known before a value can be."""
    node = value.producer()
    if value.const_value is not None or node is None or node.op_type in SIZES:
        return []
    return [source for source in node.inputs if source is not None]


def _dims(node: ir.Node | None) -> np.ndarray | None:
    """The dimensions that a Shape gives or a Size multiplies: integers, or what stands for unknown ones."""
    dims = dims_of(node.inputs[0]) if node is not None and node.op_type in SIZES else None
    if node is None or dims is None:
        return None
    return np.array(dims, object)[
        node.attributes.get_int("start", 0) : node.attributes.get_int("end", len(dims))
    ]


def _integers(dims: np.ndarray | None) -> np.ndarray | None:
    """Dimensions as numbers, if they all are."""
    if dims is None or not all(isinstance(dim, int) for dim in dims.ravel()):
        return None
    return dims.astype(np.int64)
