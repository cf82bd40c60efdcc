"""What tests of the converters share: a small model, the layer table of a converted one, values of its graph."""

import keras
import numpy as np
import onnx
from onnxattr.converters.common.layer_rows import outputs_of, read_rows
from onnxattr.converters.common.verify import Session

from onnxattr.loading.layers import append_views

__all__ = [
    "by_path",
    "image",
    "names_of",
    "outputs_of",
    "read_rows",
    "run",
    "small_model",
    "values",
    "with_outputs",
]

L = keras.layers


def small_model() -> keras.Model:
    """A convolution and a dense layer on images (N, 8, 8, 1)."""
    return keras.Sequential(
        [
            L.Input((8, 8, 1), name="image"),
            L.Conv2D(3, 3, activation="relu", name="conv"),
            L.Flatten(),
            L.Dense(2),
        ]
    )


def image(batch=3) -> np.ndarray:
    """Images for the small model."""
    return np.random.default_rng(0).normal(size=(batch, 8, 8, 1)).astype("float32")


def names_of(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    """The names of the inputs and of the outputs."""
    return [v.name for v in model.graph.input], [v.name for v in model.graph.output]


def by_path(model: onnx.ModelProto) -> dict[str, dict]:
    """The rows of the layer table by path."""
    return {row["path"]: row for row in read_rows(model)}


def run(model: onnx.ModelProto, *arrays: np.ndarray) -> list[np.ndarray]:
    """The outputs for inputs in the order of the graph."""
    names = [value.name for value in model.graph.input]
    return Session(model).run(dict(zip(names, arrays, strict=True)))


def with_outputs(model: onnx.ModelProto, names) -> onnx.ModelProto:
    """The model with more of its values, and those that are set aside, as outputs; inputs are left out."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    append_views(exposed)
    present = {value.name for value in (*exposed.graph.output, *exposed.graph.input)}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=n) for n in dict.fromkeys(names) if n not in present)
    return exposed


def values(model: onnx.ModelProto, names, arrays) -> list[np.ndarray]:
    """Values of the graph, its inputs among them, for inputs in the order of the graph."""
    exposed = with_outputs(model, names)
    found = dict(zip([value.name for value in exposed.graph.output], run(exposed, *arrays), strict=True))
    found |= dict(zip([value.name for value in model.graph.input], arrays, strict=True))
    return [found[name] for name in names]
