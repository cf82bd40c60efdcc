"""What tests of the converters look at: the layer table of a model, and values of its graph."""

import numpy as np
import onnx
from onnxattr.converters.layer_rows import outputs_of, read_rows
from onnxattr.converters.verify import Session

from onnxattr.layers import append_views

__all__ = ["by_path", "outputs_of", "read_rows", "run", "values", "with_outputs"]


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
