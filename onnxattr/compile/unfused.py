"""Activations that runtimes compute wrongly as part of a convolution, kept apart from it."""

from __future__ import annotations

import numpy as np
import onnx

from onnxattr.graph.fusions import is_fused, readers_in
from onnxattr.graph.subgraphs import Names, inside_out, is_standard, names_made_in, set_nodes


def keep_apart(graph: onnx.GraphProto) -> None:
    """Gives each Tanh that would become part of a Conv an axis more, and takes it away again behind the Tanh.

    WebGPU's provider of ONNX Runtime (0.4.0) gives NaN for operands beyond 88 in the Tanh that is part of a Conv, and
    the right numbers in a Tanh of its own. ONNX Runtime copies nothing to add or to remove an axis.
    """
    graphs = inside_out(graph, "Tanh")
    if not graphs:
        return
    names = Names(names_made_in(graph))
    for one in graphs:
        _keep_apart(one, names)


def _keep_apart(graph: onnx.GraphProto, names: Names) -> None:
    makers = {name: node for node in graph.node for name in node.output}
    constant = {tensor.name for tensor in graph.initializer}
    constant.update(name for name, node in makers.items() if is_standard(node, "Constant"))
    readers, nodes, axis = readers_in(graph), [], ""
    for node in graph.node:
        if not (is_standard(node, "Tanh") and is_fused(node, makers, readers, constant)):
            nodes.append(node)
            continue
        axis = axis or names.fresh("axis")
        more, result = names.fresh(node.input[0]), names.fresh(node.output[0])
        nodes.append(onnx.helper.make_node("Unsqueeze", [node.input[0], axis], [more]))
        nodes.append(onnx.helper.make_node("Tanh", [more], [result], node.name))
        nodes.append(onnx.helper.make_node("Squeeze", [result, axis], [node.output[0]]))
    if axis:
        set_nodes(graph, nodes)
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), axis))
