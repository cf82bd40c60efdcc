"""What skl2onnx writes in a form whose gradient is not a number, written in one whose gradient is that of the maths."""

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ..common import graph_edit


def write_sigmoids(graph: onnx.GraphProto) -> None:
    """Write 1 / (1 + exp(-x)) as Sigmoid(x): the exponential overflows where the sigmoid is almost 0."""
    made = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}

    def chain(node: onnx.NodeProto, op_type: str, constant: float) -> onnx.NodeProto | None:
        """The node before an operation with a constant, if it is that operation."""
        if node.op_type != op_type or not np.array_equal(
            np.unique(constants.get(node.input[1], 0)), [constant]
        ):
            return None
        return made.get(node.input[0])

    for node in graph.node:
        if node.op_type != "Reciprocal" or (add := made.get(node.input[0])) is None:
            continue
        exponential = chain(add, "Add", 1.0)
        if exponential is None or exponential.op_type != "Exp" or exponential.input[0] not in made:
            continue
        negation = made[exponential.input[0]]
        if chain(negation, "Mul", -1.0) is not None:
            node.op_type, node.input[0] = "Sigmoid", negation.input[0]


def write_network_outputs(graph: onnx.GraphProto, network: Any) -> None:
    """Write the probabilities of a network of two labels as it gives them.

    skl2onnx takes two labels for two classes: it writes 1 - p in front of the probabilities p of both.
    """
    if type(network).__name__ != "MLPClassifier" or network.n_outputs_ != 2:
        return
    last = next(node for node in graph.node if graph.output[-1].name in node.output)
    outputs = last.input[1]
    last.op_type = "Identity"
    del last.input[:], last.attribute[:]
    last.input.append(outputs)


def write_scores_as_column(graph: onnx.GraphProto, last: Any) -> None:
    """Write the scores of a SGDOneClassSVM as one column, as those of a OneClassSVM are; skl2onnx writes a row."""
    if type(last).__name__ != "SGDOneClassSVM":
        return
    scores = graph.output[-1].name
    graph_edit.rename_values(graph, {scores: f"{scores}_row"})
    shape = numpy_helper.from_array(np.array([-1, 1]), f"{scores}_shape")
    graph.initializer.append(shape)
    graph.node.append(onnx.helper.make_node("Reshape", [f"{scores}_row", shape.name], [scores], scores))


def write_neighbour_weights(graph: onnx.GraphProto) -> None:
    """Write the weights of neighbours as 1 / d; skl2onnx writes 1 / max(-d, 1e-6), one weight for all of them."""
    made = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    # Neighbours at no distance count alone; no other distance is below this in float32.
    least = numpy_helper.from_array(np.array([1e-20], np.float32), "least_distance")
    for node in [node for node in graph.node if node.op_type == "Reciprocal"]:
        highest = made.get(node.input[0])
        negation = made.get(highest.input[0]) if highest is not None and highest.op_type == "Max" else None
        if highest is None or negation is None or negation.op_type != "Mul":
            continue
        distances = made.get(negation.input[0])
        if distances is not None and distances.op_type == "TopK" and constants.get(negation.input[1]) == -1:
            highest.input[0], highest.input[1] = negation.input[0], least.name
            if least.name not in constants:
                graph.initializer.append(least)
                constants[least.name] = numpy_helper.to_array(least)
