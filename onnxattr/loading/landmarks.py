"""Places in a model that its explanations often start from: the last convolution, and embeddings."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxattr.autodiff.paths import needed_nodes, reaching
from onnxattr.errors import ModelError
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.subgraphs import nodes_of
from onnxattr.graph.values import LAYOUTS, dims_of, named_values
from onnxattr.loading.channels import has_one_place
from onnxattr.loading.discrete import first_floats
from onnxattr.loading.layers import Layer

if TYPE_CHECKING:
    from onnxattr.loading.prepared import Prepared

_CONVOLUTIONS = frozenset("Conv ConvTranspose DeformConv".split())
_QUANTIZED = frozenset("QLinearConv ConvInteger".split())
#: What lays out a convolution's values otherwise, or activates them inside the layer that holds it.
_LAYOUT = LAYOUTS | {"Cast", "QuantizeLinear", "DequantizeLinear"}
_ACTIVATION = frozenset(
    "Add Clip Elu Erf Gelu HardSigmoid HardSwish LeakyRelu Mish Mul PRelu Relu Selu Sigmoid Softplus Softsign Swish "
    "Tanh ThresholdedRelu".split()
)
#: Names of layers of Keras and PyTorch that are one convolution, subclasses such as StdConv2d included.
_LAYER = re.compile(r"Conv(Transpose)?[123][dD](Transpose)?$")

#: How many values an error lists.
_LISTED = 8
#: Layers of Keras that have filters; a depthwise convolution has none.
_WITH_FILTERS = re.compile(r"(?<!Depthwise)Conv[123]D(Transpose)?$")


def last_convolution(prepared: Prepared) -> str:
    """The name of the value that the last convolution of a model gives, of those that still have space.

    Where the model has a layer table, that is the output of the layer that holds the convolution, in its layout and
    with its own activation, as far as the graph has that value. Convolutions on one pixel, as in squeeze-and-excite
    blocks and pooled heads, are passed over; of parallel branches the one that is last in the graph is taken, in a
    model of Keras the last among its layers.

    Raises:
        ModelError: If there is none.
    """
    graph = prepared.model.graph
    value = convolution_before(graph, prepared.layers, prepared.value(prepared.output))
    if value is None:
        raise ModelError(_no_convolution(graph, prepared.output))
    return str(value.name)


def embeddings(prepared: Prepared) -> tuple[str, ...]:
    """The names of the values (N, T, E) that tables give for integers; words first, see ``tables_before``."""
    return tuple(
        str(v.name) for v in embeddings_before(prepared.model.graph, prepared.value(prepared.output))
    )


def explainable(graph: ir.Graph, output: ir.Value) -> list[str]:
    """The first float values computed from integers, to explain instead of those: embeddings first, eight at most."""
    wanted = reaching(list(graph), output) - {output}
    others = [value for value in first_floats(graph) if value in wanted]
    return [str(value.name) for value in dict.fromkeys([*embeddings_before(graph, output), *others])][
        :_LISTED
    ]


def convolution_before(graph: ir.Graph, layers: Sequence[Layer], output: ir.Value) -> ir.Value | None:
    """See ``last_convolution``; None if there is none."""
    reached = reaching(list(graph), output)
    if (last := _last_of_keras(graph, layers, output, reached)) is not None:
        return last
    nodes = [node for node in graph if node.op_type in _CONVOLUTIONS | _QUANTIZED]
    for node in reversed(nodes):
        found = _float_map(node.outputs[0])
        if found is not None and found in reached and found is not output:
            return _of_layer(graph, layers, found)
    return None


def _last_of_keras(
    graph: ir.Graph, layers: Sequence[Layer], output: ir.Value, reached: Collection[ir.Value]
) -> ir.Value | None:
    """The output of the last layer with filters of a Keras model, in the order of its layers, as Xplique takes it."""
    values = named_values(graph)
    for layer in reversed(layers):
        if not _WITH_FILTERS.search(layer.class_name):
            continue
        for value in (values[name] for name in layer.outputs if name in values):
            there = other_layout(value, reached)
            if there not in (None, output) and len(dims_of(there) or []) > 2 and not has_one_place(there):
                return value
    return None


def other_layout(value: ir.Value, reached: Collection[ir.Value]) -> ir.Value | None:
    """A value that reaches the score, or the one on the way that it is another layout of; None if there is none."""
    while value not in reached:
        node = value.producer()
        if node is None or node.op_type not in _LAYOUT or node.inputs[0] is None:
            return None
        value = node.inputs[0]
    return value


def _float_map(value: ir.Value) -> ir.Value | None:
    """The floats of a convolution's output, dequantised if they are integers; None for those without space."""
    while value.dtype not in FLOATS:
        readers = [node for node in value.consumers() if node.op_type in ("DequantizeLinear", "Cast")]
        if not readers:
            return None
        value = readers[0].outputs[0]
    dims = dims_of(value) or []
    return value if len(dims) > 2 and any(dim != 1 for dim in dims[2:]) else None


def _of_layer(graph: ir.Graph, layers: Sequence[Layer], found: ir.Value) -> ir.Value:
    """The output of the layer that a convolution is in: of that kind of layer, or of any that only lays it out."""
    values = named_values(graph)
    best, fewest = found, 1000
    for layer in layers:
        inside = _LAYOUT | _ACTIVATION if _LAYER.search(layer.class_name) else _LAYOUT
        for name in layer.outputs:
            length = _steps(values[name], found, inside) if name in values else None
            if length is None or values[name].dtype not in FLOATS:
                continue
            # The convolution itself says more than a layer after it that does nothing, such as dropout.
            length += 0 if _LAYER.search(layer.class_name) else 500
            if length < fewest:
                best, fewest = values[name], length
    return best


def _steps(value: ir.Value, found: ir.Value, inside: frozenset[str]) -> int | None:
    """How many nodes of some kinds lead from one value to another, with nothing else between; None if others do."""
    between = needed_nodes([value])
    before = set(needed_nodes([found]))
    own = [node for node in between if node not in before]
    if value is not found and not (own and found.producer() in between):
        return None
    return len(own) if all(node.op_type in inside for node in own) else None


def embeddings_before(graph: ir.Graph, output: ir.Value) -> list[ir.Value]:
    """See ``embeddings``."""
    return [found.value for found in tables_before(graph, output)]


@dataclass(frozen=True)
class Lookup:
    """A value that a table gives for integers.

    Attributes:
        value: The value.
        rows: How many rows the table has.
        ids: The integer input that it is looked up by; None for integers that the model computes, such as positions.
    """

    value: ir.Value
    rows: int
    ids: str | None

    @property
    def words(self) -> bool:
        """Whether the table may be that of words: its ids are an input, and none of positions, kinds or masks."""
        return self.ids is not None and not _NO_WORDS.search(self.ids)


#: Inputs of integers that are no words.
_NO_WORDS = re.compile(r"pos|type|segment|mask", re.IGNORECASE)
#: What lies between a table of integers and the floats of its rows: ONNX Runtime's quantiser lays them out first.
_READ_OUT = LAYOUTS | {"Cast", "DequantizeLinear"}
#: What hands on the ids of words as they are.
_SAME_IDS = frozenset("Cast Identity Reshape Squeeze Unsqueeze Flatten Transpose Slice Clip Max Min".split())


def tables_before(graph: ir.Graph, output: ir.Value) -> list[Lookup]:
    """The values that tables give for integers on the way to an output: words first, then by the number of rows."""
    reached = reaching(list(graph), output) - {output}
    found = []
    for value in first_floats(graph):
        rows, table = _rows_of_table(value), _from_one_hot(value)
        if rows is not None and table in reached:
            found.append(Lookup(table, rows, _ids_of(graph, value)))
    return sorted(found, key=lambda lookup: (not lookup.words, -lookup.rows))


def _ids_of(graph: ir.Graph, value: ir.Value) -> str | None:
    """The integer input that a value is looked up by, as it is; None for integers that the model computes."""
    node = value.producer()
    while node is not None and node.op_type in _READ_OUT:
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    if node is None:
        return None
    ids = node.inputs[1 if node.op_type.startswith("Gather") else 0]
    while ids is not None and (before := ids.producer()) is not None:
        if before.op_type == "Where" and _counts_from_the_end(before):
            ids = before.inputs[2]
        elif before.op_type in _SAME_IDS:
            ids = before.inputs[0]
        else:
            break
    return str(ids.name) if ids is not None and ids in graph.inputs else None


def _counts_from_the_end(node: ir.Node) -> bool:
    """Whether a Where adds a number to ids, as Keras does to negative ones, and else leaves them as they are."""
    added, ids = node.inputs[1], node.inputs[2]
    adding = added.producer() if added is not None else None
    return adding is not None and adding.op_type == "Add" and ids in adding.inputs


def _rows_of_table(value: ir.Value) -> int | None:
    """How many rows the table has that a value is looked up in; None if it is none of a table."""
    node = value.producer()
    if node is not None and node.op_type in _READ_OUT and node.inputs[0] is not None:
        return _rows_of_table(node.inputs[0])
    if node is not None and node.op_type == "OneHot":
        product = _from_one_hot(value)
        dims = dims_of(product.producer().inputs[1]) if product is not value else None  # type: ignore[union-attr]
        return dims[0] if dims and isinstance(dims[0], int) else None
    if node is None or node.op_type not in ("Gather", "GatherBlockQuantized") or not node.inputs[0]:
        return None
    dims, axis = dims_of(node.inputs[0]), node.attributes.get_int("axis", 0)
    constant = node.inputs[0].const_value is not None or _of_constants(node.inputs[0])
    return (
        dims[0] if constant and dims and len(dims) == 2 and axis == 0 and isinstance(dims[0], int) else None
    )


def _from_one_hot(value: ir.Value) -> ir.Value:
    """What a table gives for one-hot rows; any other value itself."""
    node = value.producer()
    if node is None or node.op_type != "OneHot":
        return value
    products = (user for user in value.consumers() if user.op_type == "MatMul" and user.inputs[0] is value)
    return next((user.outputs[0] for user in products if user.inputs[1].const_value is not None), value)  # type: ignore[union-attr]


def _of_constants(value: ir.Value) -> bool:
    """Whether a value is computed from weights alone, as a dequantised table is."""
    node = value.producer()
    inputs = [] if node is None else [source for source in node.inputs if source is not None]
    return bool(inputs) and all(v.const_value is not None or _of_constants(v) for v in inputs)


def _no_convolution(graph: ir.Graph, output: str) -> str:
    kinds = _CONVOLUTIONS | _QUANTIZED
    inside = sorted({str(n.name) for n in nodes_of(graph) if n.op_type in kinds and n.graph is not graph})
    why = f" Those inside subgraphs, {inside[:3]}, have no one value." if inside else ""
    quantized = [str(node.name) for node in graph if node.op_type in _QUANTIZED]
    why += f" Those of integers, {quantized[:3]}, have no float value." if quantized else ""
    return (
        f"No convolution with space (width, or time) leads to {output!r}: name the layer whose map is meant; "
        f"`onnxattr inspect` lists them.{why}"
    )
