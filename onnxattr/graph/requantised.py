"""Dequantised values that ONNX Runtime would compute with in integers where it cannot, kept as they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import onnx
import onnx_ir as ir

from onnxattr.graph.subgraphs import Names, inside_out, is_standard, names_made_in, read_by, set_nodes

#: The operators that ONNX Runtime carries a quantisation through (optimizer/qdq_transformer/qdq_propagation.cc).
_CARRY = ("MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
#: The first opset in which a QuantizeLinear may state the type of its output.
_STATED = 21
#: By the name of a value, the nodes of a graph that read it, each with the position among what it reads.
_Readers = Mapping[str, Sequence[tuple[onnx.NodeProto, int]]]


def serialised(model: ir.Model) -> onnx.ModelProto:
    """A model as ONNX Runtime takes it; see ``keep_real``."""
    proto = ir.serde.serialize_model(model)
    keep_real(proto)
    return proto


def keep_real(model: onnx.ModelProto) -> None:
    """Lets readers of dequantised values read a Sum of the one value where ONNX Runtime else refuses a model, in place.

    Behind a DequantizeLinear of int8 and a node that moves elements ONNX Runtime quantises again, unless a
    QuantizeLinear is there already. From opset 21 on it states the type int8 there, on x86 then takes a zero point of
    uint8, and refuses the two. A pullback that reads a value behind a DequantizeLinear would make a model that runs one
    that does not. Of a product with dequantised weights it makes one node, and does not find the weights from inside a
    Loop or an If. Neither happens behind a Sum, while an Identity would be left out.
    """
    graphs = inside_out(model.graph, "DequantizeLinear")
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset < _STATED and len(graphs) < 2:
        return
    constant = {tensor.name: tensor for graph in graphs for tensor in graph.initializer}
    names = Names(names_made_in(model.graph))
    for graph in graphs:
        _keep_real(graph, constant, opset >= _STATED, names)


def _keep_real(
    graph: onnx.GraphProto, constant: Mapping[str, onnx.TensorProto], stated: bool, names: Names
) -> None:
    readers, nodes = _readers_in(graph), []
    outputs = {value.name for value in graph.output}
    around = constant.keys() - {tensor.name for tensor in graph.initializer}
    dequantised = {node.output[0] for node in graph.node if is_standard(node, "DequantizeLinear")}
    for node in graph.node:
        nodes.append(node)
        if not is_standard(node, "DequantizeLinear"):
            continue
        uses = _moves(node.output[0], readers, outputs) if stated and _is_of_int8(node, constant) else []
        if node.input[0] in constant and not around.isdisjoint(node.input):
            uses += [use for use in readers[node.output[0]] if _is_multiplied(use[0], dequantised)]
        if uses:
            real = names.fresh(f"{node.output[0]}_real")
            nodes.append(onnx.helper.make_node("Sum", [node.output[0]], [real], real))
            for reader, position in uses:
                reader.input[position] = real
    if len(nodes) > len(graph.node):
        set_nodes(graph, nodes)


def _readers_in(graph: onnx.GraphProto) -> _Readers:
    readers = defaultdict(list)
    for node in graph.node:
        for position, name in enumerate(read_by(node)):
            readers[name].append((node, position))
    return readers


def _is_of_int8(node: onnx.NodeProto, constant: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether a node dequantises what is computed with one constant scale and one constant zero point of int8.

    Weights are moved before they are dequantised, by ONNX Runtime itself.
    """
    if len(node.input) < 3 or node.input[0] in constant:
        return False
    scale, zero = (constant.get(name) for name in node.input[1:3])
    if scale is None or zero is None or zero.data_type != onnx.TensorProto.INT8:
        return False
    return all(size == 1 for size in [*scale.dims, *zero.dims])


def _is_multiplied(node: onnx.NodeProto, dequantised: set[str]) -> bool:
    """Whether a reader of dequantised weights multiplies reals with them, or lays them out for who does."""
    if is_standard(node, "MatMul", "Gemm"):
        return not dequantised.issuperset(node.input[:2])
    return is_standard(node, "Identity", *_CARRY)


def _moves(name: str, readers: _Readers, outputs: Collection[str]) -> list[tuple[onnx.NodeProto, int]]:
    """The nodes that move the elements of a value for anything else than a QuantizeLinear, or lead to one that does."""
    found = []
    for node, at in readers[name]:
        if at > 0:
            continue
        if is_standard(node, *_CARRY):
            after = [reader for reader, _ in readers[node.output[0]]]
            if node.output[0] in outputs or not all(is_standard(each, "QuantizeLinear") for each in after):
                found.append((node, at))
        elif _is_left_out(node) and _moves(node.output[0], readers, outputs):
            found.append((node, at))
    return found


def _is_left_out(node: onnx.NodeProto) -> bool:
    """Whether ONNX Runtime may leave a node out that reads a float, before it looks for moves."""
    to = next((attribute.i for attribute in node.attribute if attribute.name == "to"), None)
    return is_standard(node, "Identity", "Dropout") or (
        is_standard(node, "Cast") and to == onnx.TensorProto.FLOAT
    )
