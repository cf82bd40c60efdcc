"""OpBuilder: writes standard ai.onnx nodes into an onnx-ir graph, one method call per node.

``op.Mul(ct, 2.0)`` appends a Mul node and returns its output value. Literals become shared constants in the dtype of
the other operand, every new name is unique in the graph, outputs get their dtype and shape by ONNX's own inference,
and arithmetic on known shapes is folded while building, so that rules are written once for static and dynamic shapes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ModelError, RuleError
from onnxattr.graph.folding import folded_at_once
from onnxattr.graph.halves import folded_in_float
from onnxattr.graph.intervals import FINITE, FLOATS, Range
from onnxattr.graph.operators import Operand
from onnxattr.graph.products import product, quotient
from onnxattr.graph.ranges import Ranges
from onnxattr.graph.schemas import Signature, folded, infer, signature_of
from onnxattr.graph.shaping import Shaping
from onnxattr.graph.sizes import name_sizes
from onnxattr.graph.values import values_of

__all__ = ["GRADIENT_OF", "OpBuilder", "Operand"]

#: First part of the names of values that methods need inside.
OWN = "onnxattr/"
#: In a node's ``meta``: the name of the node whose gradient it is a part of.
GRADIENT_OF = "gradient_of"
#: What stands for an operator in a gradient.
_GUARDED = {"Mul": product, "Div": quotient}


class OpBuilder(Shaping):
    """Builds nodes at the end of a graph; see the module's docstring."""

    def __init__(self, graph: ir.Graph, opset: int, prefix: str = "grad", parent: OpBuilder | None = None):
        """Starts a builder on a graph.

        Args:
            graph: The graph that receives the nodes and the constants.
            opset: The ai.onnx opset of the model; op types and attributes are checked against it.
            prefix: First part of every new name.
            parent: The builder of the enclosing graph, when ``graph`` is the body of a Loop or Scan. Names are
                shared with it.
        """
        self.graph = graph
        self.opset = opset
        self.prefix = prefix
        #: Name of the node whose gradient is being written, noted in the ``meta`` of the nodes of that gradient.
        self.gradient_of: str | None = None
        self._parent = parent
        self._names: set[str]
        #: Names that a node has and no value: those of inputs and outputs may be the same.
        self._of_nodes: set[str]
        #: By first part, the number of the last name that was given: the numbers before it are taken.
        self._counters: dict[str, int]
        if parent is None:
            self._names = {value.name for value in values_of(graph) if value.name}
            self._of_nodes = {node.name for node in graph.all_nodes() if node.name} - self._names
            self._names |= self._of_nodes
            self._counters = {}
        else:
            self._names, self._of_nodes, self._counters = parent._names, parent._of_nodes, parent._counters
        self._constants: dict[tuple[Any, ...], ir.Value] = {}
        self.ranges: Ranges = Ranges() if parent is None else parent.ranges
        self._gradients = self._primals = 0
        #: By the name of a size, the vector of one element that holds it, while a definition is written.
        self._holders: dict[str, ir.Value] = {}

    @contextlib.contextmanager
    def gradient(self) -> Iterator[None]:
        """While it lasts, 0 times anything is 0 in the products and quotients that are built."""
        self._gradients += 1
        try:
            yield
        finally:
            self._gradients -= 1

    @contextlib.contextmanager
    def primal(self) -> Iterator[None]:
        """While it lasts, products and quotients are those of a forward pass, inside a gradient too."""
        self._primals += 1
        self._holders.clear()
        try:
            yield
        finally:
            self._primals -= 1

    @property
    def in_gradient(self) -> bool:
        """Whether a gradient is being built, in this graph or the one around it."""
        if self._primals:
            return False
        return self._gradients > 0 or (self._parent is not None and self._parent.in_gradient)

    def range_of(self, value: ir.Value) -> Range:
        """What a value can hold."""
        return self.ranges(value)

    def note_range(self, value: ir.Value, known: Range) -> ir.Value:
        """Notes what a value can hold, where its node does not tell; returns the value."""
        self.ranges.note(value, known)
        return value

    def operator(
        self, op_type: str, *operands: Operand, outputs: int | None = None, **attributes: Any
    ) -> Any:
        """Appends a node, as ``op.Mul(a, b)`` does."""
        return self.node(op_type, operands, attributes, outputs)

    @overload
    def node(
        self,
        op_type: str,
        operands: Sequence[Operand],
        attributes: Mapping[str, Any] | None = None,
        outputs: None = None,
    ) -> ir.Value: ...
    @overload
    def node(
        self, op_type: str, operands: Sequence[Operand], attributes: Mapping[str, Any] | None, outputs: int
    ) -> tuple[ir.Value, ...]: ...
    @overload
    def node(
        self,
        op_type: str,
        operands: Sequence[Operand],
        attributes: Mapping[str, Any] | None = None,
        *,
        outputs: int,
    ) -> tuple[ir.Value, ...]: ...
    def node(
        self,
        op_type: str,
        operands: Sequence[Operand],
        attributes: Mapping[str, Any] | None = None,
        outputs: int | None = None,
    ) -> ir.Value | tuple[ir.Value, ...]:
        """Appends a node and returns its output; with a number of ``outputs`` a tuple of so many.

        Attributes that are None are left out.

        Raises:
            RuleError: If the op, an attribute or the number of operands does not exist at the builder's opset.
        """
        attributes = {key: value for key, value in (attributes or {}).items() if value is not None}
        signature = signature_of(op_type, self.opset, len(operands), attributes)
        # Inputs left out at the end are not written.
        while len(operands) > signature.fewest and operands[-1] is None:
            operands = operands[:-1]
        inputs = self._coerce(signature, operands)
        if self.in_gradient and op_type in _GUARDED:
            left, right = inputs
            if left is not None and right is not None and left.dtype in FLOATS:
                return _GUARDED[op_type](self, left, right)
        if self.in_gradient and (wide := folded_in_float(self, op_type, inputs, attributes)) is not None:
            return wide if outputs is None else (wide,)
        made = self.append(op_type, inputs, attributes, outputs or 1)
        return made[0] if outputs is None else made

    def append(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        outputs: int = 1,
    ) -> tuple[ir.Value, ...]:
        """Appends a node as it is given and returns its outputs."""
        name = self.unique_name(op_type)
        names = [self.unique_name(f"{op_type}_{index}" if index else op_type) for index in range(outputs)]
        result = folded_at_once(op_type, inputs, attributes or {}, self.opset)
        if result is not None:
            return (self.constant(result),)
        node = ir.Node(
            "",
            op_type,
            inputs=inputs,
            attributes=[_attribute(key, value) for key, value in (attributes or {}).items()],
            num_outputs=outputs,
            name=name,
        )
        for value, own in zip(node.outputs, names, strict=True):
            value.name = own
        result = folded(node, self.opset) if outputs == 1 else None
        if result is not None:
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)
            return (self.constant(result),)
        if self.gradient_of is not None:
            node.meta[GRADIENT_OF] = self.gradient_of
        self.graph.append(node)
        infer(node, self.opset)
        name_sizes(node)
        if self._primals:
            self._note_written(node)
        return tuple(node.outputs)

    def constant(self, array: Any, dtype: ir.DataType | None = None) -> ir.Value:
        """Returns the initializer that holds an array, shared by all equal constants of this builder."""
        array = np.asarray(array) if dtype is None else np.asarray(array).astype(dtype.numpy())
        key = (array.dtype, array.shape, array.tobytes())
        if self._parent is not None:
            return self._parent.constant(array)
        if key not in self._constants:
            value = ir.Value(
                name=self.unique_name("const"),
                type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
                shape=ir.Shape(array.shape),
                const_value=ir.Tensor(array),  # ir.tensor asks for what kind of object it is, at length
            )
            self.graph.register_initializer(value)
            self._constants[key] = value
        return self._constants[key]

    def input(
        self, name: str, dtype: ir.DataType | None, shape: Sequence[int | str | None] | None
    ) -> ir.Value:
        """Adds a graph input; the name is made unique if a value has it."""
        if dtype is None:
            raise RuleError(f"Input {name!r} needs a dtype.")
        dims = None if shape is None else ir.Shape(shape)
        own = self.unique_name(name, exact=True)
        if own != name and name.startswith(OWN):
            raise ModelError(
                f"The model has a value {name!r}, a name that methods need themselves: rename it."
            )
        value = ir.Value(name=own, type=ir.TensorType(dtype), shape=dims)
        self.graph.inputs.append(value)
        self.note_range(value, FINITE)
        return value

    def unique_name(self, stem: str, exact: bool = False) -> str:
        """Reserves a name that no value or node has; an ``exact`` one is free too if only a node has it."""
        base = stem if exact else f"{self.prefix}/{stem}"
        if exact and base in self._of_nodes:
            self._of_nodes.remove(base)
            self._names.remove(base)
        counter = self._counters.get(base, 0)
        name = f"{base}_{counter}" if counter else base
        while name in self._names:
            counter += 1
            name = f"{base}_{counter}"
        self._names.add(name)
        self._counters[base] = counter
        return name

    def body(self, prefix: str) -> OpBuilder:
        """Starts the body graph of a Loop or Scan; it may read this graph's values, and its names are unique too."""
        graph = ir.Graph([], [], nodes=[], opset_imports={"": self.opset}, name=self.unique_name(prefix))
        return OpBuilder(graph, self.opset, prefix=self.unique_name(prefix), parent=self)

    def inside(self, graph: ir.Graph) -> OpBuilder:
        """A builder on a graph inside this one, whose names are unique too; this builder for its own graph."""
        return self if graph is self.graph else OpBuilder(graph, self.opset, prefix=self.prefix, parent=self)

    def _coerce(self, signature: Signature, operands: Sequence[Operand]) -> list[ir.Value | None]:
        dtypes: dict[str, ir.DataType] = {}
        for index, operand in enumerate(operands):
            if isinstance(operand, ir.Value) and operand.dtype is not None:
                dtypes.setdefault(signature.type_of(index), operand.dtype)
        inputs: list[ir.Value | None] = []
        for index, operand in enumerate(operands):
            if operand is None or isinstance(operand, ir.Value):
                inputs.append(operand)
            else:
                array = np.asarray(operand)
                literal = isinstance(operand, (int, float, list, tuple))
                default = ir.DataType.FLOAT if literal and array.dtype.kind == "f" else None
                if array.size == 0 and literal:
                    default = ir.DataType.INT64
                inputs.append(self.constant(array, dtypes.get(signature.type_of(index), default)))
        return inputs


def _attribute(name: str, value: Any) -> ir.Attr:
    """An attribute; for lists of integers without onnx_ir's checks of what else they could be, which are slow."""
    if isinstance(value, (list, tuple)) and value and all(type(item) is int for item in value):
        return ir.AttrInt64s(name, value)
    return ir.convenience.convert_attribute(name, value)
