"""Finds values that no machine should make, before anything makes them: a few bytes of a file can ask for terabytes.

Sizes come from shape inference alone. Inference that follows integers through the nodes writes every vector that it
meets down element by element, so that it runs only after this check.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import onnx
import onnx_ir as ir

from onnxattr.errors import ModelError, RuleError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.schemas import infer
from onnxattr.graph.subgraphs import graphs_in, graphs_of, nodes_of, subgraphs_of
from onnxattr.graph.values import dims_of, shape_text, values_of
from onnxattr.loading.checks.loop_steps import all_steps, grows_sequences, own_steps
from onnxattr.loading.checks.memory import in_words, memory
from onnxattr.loading.checks.trial_copy import trial_copy
from onnxattr.loading.constant_values import ConstantValues
from onnxattr.loading.passes.range_ends import reads_vectors, reshape_ends

#: What is computed from weights alone may take so many bytes, beside a multiple of what the weights take.
_MOST_CONSTANT, _TIMES_WEIGHTS = 2**28, 16
#: Elements of all vectors that inference would write down, about 80 bytes each.
_MOST_FOLLOWED = 2**23
#: Steps of a Loop that nothing ends earlier, those of the Loops in it counted each time. What grows a sequence copies
#: it at each step.
_MOST_STEPS, _MOST_STEPS_OF_SEQUENCES = 2**24, 2**14
#: Operators through which inference follows integers; it writes their vectors down.
_FOLLOWED = frozenset("Add Cast Concat Gather Mul Size Slice Squeeze Sub Unsqueeze".split())
#: Other operators may be written out in those. Longer vectors count for them too, except where weights come as such.
_LONG, _TAKES_LONG_VECTORS = 2**16, ("DequantizeLinear", "Identity", "QuantizeLinear", "Reshape")
#: Operators whose output is as large as the numbers of an input say.
_SIZED_BY_DATA = frozenset(
    "ConstantOfShape Expand HammingWindow HannWindow BlackmanWindow OneHot Pad Range Reshape Resize Tile "
    "Upsample".split()
)
_ADVICE = "Make it smaller, or export the model without it."


class _Type(NamedTuple):
    """What is known of a value: bytes of an element, and sizes, None where they are unknown."""

    itemsize: float
    dims: list[int | None]

    @property
    def elements(self) -> int:
        """Its elements at least."""
        return math.prod(dim for dim in self.dims if dim is not None)

    @property
    def size(self) -> float:
        """Its bytes at least."""
        return self.elements * self.itemsize

    def __str__(self) -> str:
        return f"{in_words(self.size)}, shape {shape_text(self.dims)}"


def check_sizes(
    model: ir.Model, protobuf: Callable[[str], onnx.ModelProto], weights: Collection[str]
) -> None:
    """Checks that no value of a model is larger than what can be meant.

    Args:
        model: The model, without functions.
        protobuf: Gives it as protobuf, by what for.
        weights: The graph inputs that stand for weights.

    Raises:
        ModelError: If a value computed from weights alone, or a value of one row, takes too much memory, a vector is
            too long for shape inference, or a Loop takes too many steps.
    """
    proto = protobuf("check sizes of values")
    with contextlib.suppress(onnx.shape_inference.InferenceError):
        proto = onnx.shape_inference.infer_shapes(proto)
    found: dict[str, _Type] = {}
    for graph in graphs_in(proto.graph):
        found |= _types(graph)
    if _undecided(model.graph, found):
        found |= _computed(model, proto)
    _Check(found, set(weights), _stored(model.graph, weights)).run(model.graph)


def _stored(graph: ir.Graph, weights: Collection[str]) -> int:
    """Bytes of the weights."""
    held = [value.const_value for part in graphs_of(graph) for value in part.initializers.values()]
    detached = [value for value in graph.inputs if value.name in weights]
    return int(
        sum(tensor.nbytes for tensor in held if tensor is not None)
        + sum(_Type(_itemsize(v.dtype or 0), _known_dims(v)).size for v in detached)
    )


def _known_dims(value: ir.Value) -> list[int | None]:
    return [dim if isinstance(dim, int) else None for dim in value.shape or ()]


def _types(graph: onnx.GraphProto) -> dict[str, _Type]:
    """The types of the values of a graph, as far as they are known."""
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
            found[value.name] = _Type(_itemsize(tensor.elem_type), dims)
    for constant in graph.initializer:
        found[constant.name] = _Type(_itemsize(constant.data_type), list(constant.dims))
    return found


def _itemsize(data_type: int) -> float:
    with contextlib.suppress(ValueError, TypeError):
        return ir.DataType(data_type).itemsize
    return 1


def _undecided(graph: ir.Graph, types: Mapping[str, _Type]) -> bool:
    """Whether the size of some value depends on integers that nodes compute."""
    return any(
        node.op_type == "Loop"
        or (
            node.op_type in _SIZED_BY_DATA
            and any(v.name not in types or None in types[v.name].dims for v in node.outputs if v.name)
        )
        for node in nodes_of(graph)
    )


def _computed(model: ir.Model, typed: onnx.ModelProto) -> dict[str, _Type]:
    """The types of values where they follow from integers that nodes compute, in graph order."""
    opset, copy = model.opset_imports[""], trial_copy(model, typed)
    constants = ConstantValues(opset)
    builder = None
    for graph in graphs_of(copy.graph):
        for node in graph:
            if reads_vectors(node):
                builder = builder or OpBuilder(copy.graph, opset, prefix="sizes")
                reshape_ends(builder.inside(graph), node)
            if not node.domain and _open(node):
                # What is wrong with a node is said later.
                with contextlib.suppress(RuleError, onnx.defs.SchemaError, RuntimeError):
                    infer(node, opset, constants)
            if node.op_type == "Loop":
                _check_steps(node, constants)
    return {
        str(value.name): _Type(_itemsize(value.dtype), _least_dims(value, constants))
        for value in values_of(copy.graph)
        if value.dtype is not None and value.shape is not None
    }


def _open(node: ir.Node) -> bool:
    """Whether sizes of a node's outputs are unknown, and all it takes are tensors."""
    dims = [dims_of(value) for value in node.outputs]
    tensors = all(value is None or isinstance(value.type, ir.TensorType) for value in node.inputs)
    return tensors and any(d is None or not all(map(_is_size, d)) for d in dims)


def _least_dims(value: ir.Value, constants: ConstantValues) -> list[int | None]:
    """The sizes of a value; unknown ones at least as often as a Tile repeats them or as much as a Pad adds."""
    dims = _known_dims(value)
    node = value.producer()
    if None not in dims or node is None or len(node.inputs) < 2:
        return dims
    given = constants(node.inputs[1]) if node.op_type in ("Tile", "Pad") else None
    if given is None or len(node.inputs) > 3:
        return dims
    added = given if node.op_type == "Tile" else given.reshape(2, -1).sum(axis=0)
    least = [max(int(number), 1) for number in added] if added.size == len(dims) else [1] * len(dims)
    return [least[axis] if dim is None and least[axis] > 1 else dim for axis, dim in enumerate(dims)]


def _check_steps(node: ir.Node, constants: ConstantValues) -> None:
    """Checks the number of steps of a Loop that does not decide by itself when it ends.

    Raises:
        ModelError: If it takes too many, or they give more than the memory holds.
    """
    (body,), steps = subgraphs_of(node), own_steps(node, constants)
    if steps is None:
        return
    total, limit = all_steps(node, constants), _MOST_STEPS
    of_sequences = ""
    if grows_sequences(node):
        limit, of_sequences = _MOST_STEPS_OF_SEQUENCES, " over sequences"
    if total > limit:
        nested = f" ({steps} times those of the Loops in it)" if total > steps else ""
        raise ModelError(
            f"Loop node {node.name or node.outputs[0].name!r} takes {total} steps{of_sequences}{nested}; supported: up "
            f"to {limit}, or a condition that ends it. Export the model with fewer steps."
        )
    for value in body.outputs[len(node.inputs) - 1 :]:
        dims = [dim for dim in dims_of(value) or [] if isinstance(dim, int)]
        size = steps * math.prod(dims) * _itemsize(value.dtype or 0)
        if size > memory():
            raise ModelError(
                f"Loop node {node.name or node.outputs[0].name!r} gives {in_words(size)} in {steps} steps; this "
                f"machine has {in_words(memory())}. {_ADVICE}"
            )


def _is_size(dim: object) -> bool:
    return isinstance(dim, int)


class _Check:
    """The check of one model, graph by graph."""

    def __init__(self, types: Mapping[str, _Type], constants: set[str], stored: int):
        self._types, self._constants = types, constants
        self._memory = memory()
        self._most_constant = _MOST_CONSTANT + _TIMES_WEIGHTS * stored
        self._made: set[str] = set()
        self._followed = self._kept = 0.0

    def run(self, graph: ir.Graph) -> None:
        """Checks a graph and those inside it."""
        self._constants |= set(graph.initializers)
        for name in (str(value.name) for value in graph.inputs):
            if name in self._types and self._types[name].size > self._memory:
                self._refuse(f"Input {name!r}", self._types[name], self._memory, "this machine has")
        outputs = {value.name for value in graph.outputs if value.name}
        for node in graph:
            bodies = subgraphs_of(node)
            self._node(node, outputs, bool(bodies))
            for body in bodies:
                self.run(body)

    def _node(self, node: ir.Node, outputs: set[str], has_bodies: bool) -> None:
        made = [value.name for value in node.outputs if value.name]
        what = f"{node.op_type} node {node.name or next(iter(made), '')!r}"
        read = [value.name for value in node.inputs if value is not None and value.name]
        constant = not has_bodies and all(name in self._constants for name in read)
        if node.op_type not in _TAKES_LONG_VECTORS:
            self._follow(what, read, 0 if node.op_type in _FOLLOWED else _LONG)
        for name in made:
            if constant:
                self._constants.add(name)
                self._made.add(name)
            if name in self._types:
                value = self._types[name]
                if constant and value.size > self._most_constant:
                    self._refuse(what, value, self._most_constant, "what comes of weights alone may take")
                if value.size > self._memory:
                    self._refuse(what, value, self._memory, "this machine has")
        self._keep(what, outputs.intersection(made) if constant else read)

    def _keep(self, what: str, names: Collection[str]) -> None:
        """Counts what is computed from weights alone and stays in memory, as something else needs it."""
        for name in names:
            if name in self._made and name in self._types:
                self._made.remove(name)
                self._kept += self._types[name].size
                if self._kept > self._most_constant:
                    self._refuse(
                        f"With what {what} reads, the model computes {in_words(self._kept)} from weights alone; "
                        "its value",
                        self._types[name],
                        self._most_constant,
                        "all of them may take",
                    )

    def _follow(self, what: str, read: list[str], least: int) -> None:
        vectors = [self._types[name] for name in read if name in self._types]
        lengths = [vector.elements for vector in vectors if len(vector.dims) == 1 and None not in vector.dims]
        lengths = [length for length in lengths if length > least]
        self._followed += 2 * sum(lengths)
        if self._followed > _MOST_FOLLOWED and max(lengths, default=0) > 1024:
            raise ModelError(
                f"{what} reads a vector of {max(lengths)} elements; shape inference can follow {_MOST_FOLLOWED // 2} "
                f"elements of vectors in a model. {_ADVICE}"
            )

    def _refuse(self, what: str, value: _Type, most: float, limit: str) -> None:
        raise ModelError(f"{what} takes {value}; {limit} {in_words(most)}. {_ADVICE}")
