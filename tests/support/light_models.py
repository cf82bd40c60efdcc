"""The nine architectures that the onnx wheel carries without weights, given seeded ones: He normal, BN near 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NAMES = sorted(path.stem for path in FOLDER.glob("light_*.onnx"))
_BATCH_NORM = {1: (1.0, 0.1), 2: (0.0, 0.1), 3: (0.0, 0.1), 4: (1.0, 0.05)}


def load(name: str, batch: int | str | None = None, seed: int = 0) -> onnx.ModelProto:
    """A model that ends in its logits, with weights in place of the constant fills of the wheel's file.

    Args:
        name: One of ``NAMES``.
        batch: The first dimension of its input; None for the file's own, 1.
        seed: Seed of the weights.
    """
    model = onnx.load(FOLDER / f"{name}.onnx")
    graph, rng = model.graph, np.random.default_rng(seed)
    shapes = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    readers = {name: (node, i) for node in graph.node for i, name in enumerate(node.input)}
    for node in [node for node in graph.node if node.op_type == "ConstantOfShape"]:
        array = _weights(rng, tuple(shapes[node.input[0]]), *readers[node.output[0]], readers)
        graph.node.remove(node)
        graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), node.output[0]))
    read = {name for node in graph.node for name in node.input}
    weights = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    held = {tensor.name for tensor in weights}
    data = [value for value in graph.input if value.name in read - held]
    del graph.input[:]
    graph.input.extend(data)
    model.ir_version = 8  # from 4 on initializers need not be inputs
    if graph.node[-1].op_type == "Softmax":
        graph.output[0].name = graph.node[-1].input[0]
        del graph.node[-1]
    if batch is not None:
        dim = data[0].type.tensor_type.shape.dim[0]
        dim.dim_param, dim.dim_value = (batch, 0) if isinstance(batch, str) else ("", batch)
    return model


def image(name: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Normal noise for the input of a model."""
    graph = onnx.load(FOLDER / f"{name}.onnx").graph
    held = {tensor.name for tensor in graph.initializer}
    (data,) = (value.name for value in graph.input if value.name not in held)
    return {data: rng.normal(size=(1, 3, 224, 224)).astype(np.float32)}


def _weights(rng, shape, reader, position, readers) -> np.ndarray:
    """Weights for the input of a node at a position."""
    if reader.op_type == "Unsqueeze":  # a scale or a bias, one number for each channel
        reader, position = (
            readers[reader.output[0]][0],
            {"Mul": 1, "Add": 2}[readers[reader.output[0]][0].op_type],
        )
        return rng.normal(*_BATCH_NORM[position], shape)
    if reader.op_type == "BatchNormalization":
        return rng.normal(*_BATCH_NORM[position], shape)
    if len(shape) == 1:
        return rng.normal(0, 0.1, shape)
    return rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
