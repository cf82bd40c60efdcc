"""One classifier against the rest for each class: sigmoids over their sum, also where all of them are 0 in float32."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import onnx
from onnx import numpy_helper

# The sigmoid of what is below this is 0 in float64.
_LOWEST = -745.13


@contextlib.contextmanager
def shared_out() -> Iterator[None]:
    """Inside the `with` block skl2onnx writes the probabilities of SGDClassifier as a Normalizer of sigmoids."""
    from skl2onnx.operator_converters import sgd_classifier

    write = sgd_classifier._predict_proba_log

    def probabilities(
        scope: Any, operator: Any, container: Any, scores: str, classes: int, proto_type: int
    ) -> str:
        output: str = operator.outputs[1].full_name
        if classes < 3:
            write(scope, operator, container, scores, classes, proto_type)
            return output
        sigmoids = scope.get_unique_variable_name("sigmoids")
        for op_type, source, result, settings in (
            ("Sigmoid", scores, sigmoids, {}),
            ("Normalizer", sigmoids, output, {"op_domain": "ai.onnx.ml", "norm": "L1"}),
        ):
            name = scope.get_unique_operator_name(op_type)
            container.add_node(op_type, [source], [result], name=name, **settings)
        return output

    with mock.patch.object(sgd_classifier, "_predict_proba_log", probabilities):
        yield


def write_sigmoids_over_sums(graph: onnx.GraphProto) -> None:
    """Write sigmoids over their sum as the softmax of their logarithms.

    Where all sigmoids are 0 in float64 too, linear classifiers give no number, and OneVsRestClassifier gives 0.
    """
    made = {name: node for node in graph.node for name in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        before = made.get(node.input[0]) if node.op_type in ("Normalizer", "LpNormalization") else None
        scores = _scores(made, before, nodes) if before is not None else None
        lost = np.nan if node.op_type == "Normalizer" else 0.0
        nodes += [node] if scores is None else _shares(graph, scores, node.output[0], lost)
    del graph.node[:]
    graph.node.extend(nodes)


def _scores(made: dict[str, onnx.NodeProto], node: onnx.NodeProto, nodes: list[onnx.NodeProto]) -> str | None:
    """The scores whose sigmoids a node gives, if it does; classifiers that give sigmoids are made to give scores.

    Args:
        made: The nodes by what they give.
        node: The node.
        nodes: Gets the node that puts scores of several classifiers side by side, where there is none yet.
    """
    if node.op_type == "Sigmoid":
        return str(node.input[0])
    classifiers = [node]
    if node.op_type == "Concat":
        parts = [made.get(name) for name in node.input]
        if not all(part is not None and part.op_type == "Slice" for part in parts):
            return None
        classifiers = [made.get(part.input[0], part) for part in parts if part is not None]
        apart = [score for pair in classifiers if (score := _score_of_two(made, pair))]
        if len(apart) == len(classifiers):
            name = f"{node.output[0]}_scores"
            nodes.append(onnx.helper.make_node("Concat", apart, [name], name, axis=1))
            return name
    links = [one for each in classifiers for one in each.attribute if one.name == "post_transform"]
    if len(links) < len(classifiers) or any(link.s != b"LOGISTIC" for link in links):
        return None
    if node.op_type != "Concat" and len(_intercepts(node)) < 3:  # of two classes, which exclude each other
        return None
    for link in links:
        link.s = b"NONE"
    return str(node.output[node.op_type != "Concat"])


def _score_of_two(made: dict[str, onnx.NodeProto], pair: onnx.NodeProto) -> str | None:
    """The score z of a node that gives 1 - sigmoid(z) and sigmoid(z), if it does."""
    if pair.op_type != "Concat" or len(pair.input) != 2:
        return None
    rest, sigmoid = (made.get(name) for name in pair.input)
    if sigmoid is None or sigmoid.op_type != "Sigmoid" or rest is None or rest.op_type != "Sub":
        return None
    return str(sigmoid.input[0]) if rest.input[1] == sigmoid.output[0] else None


def _intercepts(node: onnx.NodeProto) -> list[float]:
    return [value for one in node.attribute if one.name == "intercepts" for value in one.floats]


def _shares(graph: onnx.GraphProto, scores: str, output: str, lost: float) -> list[onnx.NodeProto]:
    """The nodes from scores z to the softmax of -log(1 + exp(-z)), or `lost` where no sigmoid is more than 0."""
    nodes: list[onnx.NodeProto] = []

    def constant(value: Any) -> str:
        name = f"{output}_constant_{len(graph.initializer)}"
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(op_type: str, *inputs: str, result: str | None = None, **attributes: Any) -> str:
        name = result or f"{output}_{op_type.lower()}_{len(nodes)}"
        nodes.append(onnx.helper.make_node(op_type, [*inputs], [name], name, **attributes))
        return name

    held = add("Cast", add("Less", constant(np.float32(_LOWEST)), scores), to=onnx.TensorProto.FLOAT)
    none = add("Less", add("ReduceSum", held, constant([1])), constant(np.float32(0.5)))
    logarithms = add("Neg", add("Softplus", add("Neg", scores)))
    add("Where", none, constant(np.float32(lost)), add("Softmax", logarithms, axis=1), result=output)
    return nodes
