"""Nodes of a tf2onnx graph in the place of one that is removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto


class Replacement:
    """Writes what takes the place of a node, which it removes.

    Attributes:
        shape: The shape of the first output; None if it is not known.
        dtype: Its element type, as ONNX numbers it.
    """

    def __init__(self, ctx: Any, node: Any):
        """Removes a node of a tf2onnx graph."""
        self._ctx, self._name = ctx, node.name
        self._outputs = [(output, ctx.get_shape(output), ctx.get_dtype(output)) for output in node.output]
        _, self.shape, self.dtype = self._outputs[0]
        ctx.remove_node(node.name)

    def const(self, value: Any, dtype: int | None = None) -> str:
        """A constant, of the output's element type if no other is given."""
        from tf2onnx import utils

        array = np.asarray(value, utils.map_onnx_to_numpy_type(dtype or self.dtype))
        return str(self._ctx.make_const(utils.make_name(self._name), array).output[0])

    def op(
        self,
        op_type: str,
        *inputs: str,
        dtype: int | None = None,
        shape: Sequence[int] | None = None,
        **attributes: Any,
    ) -> str:
        """A node of one output, of the element type of the removed node's if no other is given."""
        from tf2onnx import utils

        known = {} if shape is None else {"shapes": [shape]}
        made = self._ctx.make_node(
            op_type,
            list(inputs),
            attr=attributes,
            dtypes=[dtype or self.dtype],
            name=utils.make_name(self._name),
            **known,
        )
        return str(made.output[0])

    def end(self, op_type: str, *inputs: str, output: int = 0, **attributes: Any) -> None:
        """The node whose output is that of the removed one, or one of several."""
        name, shape, dtype = self._outputs[output]
        given = {"outputs": [name], "shapes": [shape], "dtypes": [dtype]}
        self._ctx.make_node(op_type, list(inputs), attr=attributes, **given)


class Wide(Replacement):
    """A replacement that computes in numbers of 64 bits.

    Attributes:
        kind: The element type of the removed node's outputs.
    """

    def __init__(self, ctx: Any, node: Any):
        """Removes a node of a tf2onnx graph."""
        super().__init__(ctx, node)
        self.kind, self.dtype = self.dtype, TensorProto.DOUBLE

    def widened(self, value: str) -> str:
        """A value of the graph in 64 bits."""
        return self.op("Cast", value, to=TensorProto.DOUBLE)

    def wide_end(self, op_type: str, *inputs: str, output: int = 0, **attributes: Any) -> None:
        """The node whose result, rounded, is an output of the removed one."""
        self.end("Cast", self.op(op_type, *inputs, **attributes), output=output, to=self.kind)
