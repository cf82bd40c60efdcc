"""Gradient graphs: their nodes, their runs, their cotangents, and how close results have to be."""

from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes_of(attribute.g)


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
