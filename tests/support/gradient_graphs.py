"""Gradient graphs: their nodes, their runs, their cotangents, and how close results have to be."""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import onnxruntime

from onnxattr.graph.declared import outputs_asked


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes_of(attribute.g)


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy whose outputs are some values of a model, inner ones too."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with outputs_asked(copy, names):
        asked = list(copy.graph.output)
    del copy.graph.output[:]
    copy.graph.output.extend(asked)
    return copy


def backward_part(gradient: onnx.ModelProto, predictions: int) -> tuple[onnx.ModelProto, list[str]]:
    """What computes the gradients from values of the forward pass, and the names of those, which it takes.

    Args:
        gradient: The model with the gradients behind its own outputs.
        predictions: How many outputs are its own.
    """
    graph = gradient.graph
    makers = {name: node for node in graph.node for name in node.output}
    made, waiting = set[str](), [output.name for output in graph.output[:predictions]]
    while waiting:
        name = waiting.pop()
        if name in makers and name not in made:
            made.update(makers[name].output)
            waiting += makers[name].input
    behind = [node for node in graph.node if made.isdisjoint(node.output)]
    read = [name for name in dict.fromkeys(name for node in behind for name in node.input) if name in made]
    part = with_outputs(gradient, [output.name for output in graph.output[predictions:]])
    del part.graph.node[:]
    part.graph.node.extend(behind)
    part.graph.input.extend(onnx.ValueInfoProto(name=name) for name in read)
    return part, read


def run(model: onnx.ModelProto, feeds: dict) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def cotangents_of(model: onnx.ModelProto, primal: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    wanted = [v.name for v in model.graph.input if v.name.endswith("_cotangent")]
    return {
        name: rng.normal(size=primal[name.removesuffix("_cotangent")].shape).astype(np.float32)
        for name in wanted
    }


def gradients_of(results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in results.items() if name.endswith("_gradient")}


def assert_close(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    atol = 1e-4 * np.abs(expected).max(initial=0.0) + 1e-7
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=what)
