"""What nodes cost in multiplications, forth and back, those of bodies and branches included."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.multiplications import multiplications
from onnxattr.graph.subgraphs import subgraphs_of
from onnxattr.loading.checks.loop_steps import own_steps
from onnxattr.loading.constant_values import ConstantValues

#: What one number costs that is no product of matrices, in multiplications of one: it is read and written.
_ELEMENT = 12
#: Operators whose work is nearly all of a model's, so that it is not guessed where their sizes are not known.
_PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM", "GRU", "RNN")
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Work:
    """Multiplications forth, multiplications back, and the bytes of values that are kept for the way back."""

    forward: float = 0.0
    backward: float = 0.0
    kept: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.forward + other.forward, self.backward + other.backward, self.kept + other.kept)


@dataclass
class Counter:
    """Counts the work of nodes.

    Of a Loop or Scan each step counts, and on the way back once more forth, as the gradient runs it again; its states
    are kept for each step. Of an If the dearer branch counts, unless its condition is a constant.

    Attributes:
        shapes: The shapes of values by name, for one sample.
        constants: Looks up what values always hold.
        unknown: Why the work of some nodes is not known; filled while it is counted.
    """

    shapes: Shapes
    constants: ConstantValues
    unknown: list[str] = field(default_factory=list)

    def of(self, nodes: Iterable[ir.Node], back: frozenset[ir.Node] | None) -> Work:
        """The work of nodes; ``back`` are those that are differentiated, None for all of floats."""
        found = Work()
        for node in nodes:
            work = self._node(node)
            differentiated = (
                node in back if back is not None else any(v.dtype in FLOATS for v in node.outputs)
            )
            found += work if differentiated else Work(work.forward)
        return found

    def _node(self, node: ir.Node) -> Work:
        bodies = subgraphs_of(node)
        if not bodies:
            forward, times = self._plain(node)
            return Work(forward, forward * times, self._kept(node.outputs))
        if node.op_type == "If":
            return self._branches(node, bodies)
        steps = self._steps(node)
        if steps is None or len(bodies) > 1:
            return Work()
        (body,) = bodies
        one = self.of(body, None)
        states = self._kept(body.inputs) * steps
        kept = states + one.kept + self._kept(node.outputs)
        return Work(steps * one.forward, steps * (one.forward + one.backward), kept)

    def _branches(self, node: ir.Node, bodies: list[ir.Graph]) -> Work:
        condition = self.constants(node.inputs[0])
        if condition is not None and condition.size == 1:
            name = "then_branch" if condition.item() else "else_branch"
            bodies = [node.attributes[name].as_graph()]
        return max((self.of(body, None) for body in bodies), key=lambda work: work.forward)

    def _steps(self, node: ir.Node) -> int | None:
        """How many steps a node with a body takes; notes why, if that is not known."""
        steps = None
        if node.op_type == "Loop":
            steps = own_steps(node, self.constants)
        elif node.op_type == "Scan":
            steps = self._length(node)
        if steps is None:
            self.unknown.append(f"a run alone decides how many steps the {node.op_type} {node.name!r} takes")
        return steps

    def _length(self, node: ir.Node) -> int | None:
        count = node.attributes.get_int("num_scan_inputs", 0)
        axes = list(node.attributes.get_ints("scan_input_axes") or [0] * count)
        for value, axis in zip(node.inputs[len(node.inputs) - count :], axes, strict=False):
            shape = self._shape(value)
            if shape and -len(shape) <= axis < len(shape):
                return shape[axis]
        return None

    def _plain(self, node: ir.Node) -> tuple[float, int]:
        """The multiplications of a node without bodies, and how often they are done on the way back."""
        if node.op_type in _PRODUCTS and not all(self._known(value) for value in node.inputs[:2]):
            self.unknown.append(f"a run alone decides the sizes of {node.op_type} {node.name!r}")
        out = max((self._count(value) for value in node.outputs), default=0)
        first = self._shape(node.inputs[0]) if node.inputs else ()
        second = self._shape(node.inputs[1]) if len(node.inputs) > 1 else ()
        varying = sum(value.const_value is None for value in inputs_of(node))
        product = multiplications(node, out, math.prod(first), first, second)
        if product is not None:
            return product, max(1, min(varying, 2)) if node.op_type in ("MatMul", "Gemm") else 1
        if node.op_type in ("LSTM", "GRU", "RNN") and len(first) == 3:
            weights = sum(math.prod(self._shape(value)) for value in node.inputs[1:3])
            return first[0] * first[1] * weights, 2  # steps are computed once more on the way back
        return out * _ELEMENT, 2

    def _known(self, value: ir.Value | None) -> bool:
        return value is not None and (value.const_value is not None or value.name in self.shapes)

    def _shape(self, value: ir.Value | None) -> tuple[int, ...]:
        if value is None:
            return ()
        if value.const_value is not None:
            return tuple(value.const_value.numpy().shape)
        return self.shapes.get(str(value.name), ())

    def _count(self, value: ir.Value) -> int:
        return math.prod(self.shapes[str(value.name)]) if value.name in self.shapes else 0

    def _kept(self, values: Iterable[ir.Value]) -> float:
        return sum(
            self._count(value) * value.dtype.itemsize
            for value in values
            if value.dtype is not None and value.dtype != ir.DataType.STRING
        )
