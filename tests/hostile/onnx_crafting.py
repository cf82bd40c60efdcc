"""Makes ONNX files that are wrong, deep, large or odd."""

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from support.small_models import build, mlp, node

from hostile.onnx_mutants import CONTROL, explainer
from onnxattr.attributions import IntegratedGradients

VECTOR = {"x": ["N", 4]}, {"y": ["N", 4]}


def changed(change: Callable[[onnx.ModelProto], Any], model: onnx.ModelProto | None = None) -> bytes:
    """A model after a change."""
    model = copy.deepcopy(mlp().model if model is None else model)
    change(model)
    return model.SerializeToString()


def initializer(**fields: Any) -> bytes:
    """The MLP whose first weights have other fields; lists are set as the whole list."""

    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        for name, value in fields.items():
            if isinstance(value, list):
                del getattr(tensor, name)[:]
                getattr(tensor, name).extend(value)
            else:
                setattr(tensor, name, value)

    return changed(change)


def metadata(key: str, value: str, model: onnx.ModelProto | None = None) -> bytes:
    return changed(lambda m: m.metadata_props.add(key=key, value=value), model)


def described(**changes: Any) -> bytes:
    """An explainer whose metadata entry has other fields; None removes one."""
    model = explainer(IntegratedGradients, steps=4)
    entry = next(e for e in model.metadata_props if e.key == "onnxattr.explainer")
    about = json.loads(entry.value) | changes
    entry.value = json.dumps({key: value for key, value in about.items() if value != "removed"})
    return model.SerializeToString()


def untyped(kind: str, number: int, field: str) -> bytes:
    """An explainer one of whose inputs or outputs has no type, or none of its elements."""
    model = explainer(IntegratedGradients, steps=4)
    value = getattr(model.graph, kind)[number]
    (value if field == "type" else value.type).ClearField(field)
    return model.SerializeToString()


def layer(**changes: Any) -> bytes:
    row = {"name": "a", "index": 0, "class": "Dense", "path": "a", "output": "active", "relu": None} | changes
    return metadata("onnxattr.layers", json.dumps({"version": 1, "layers": [row]}))


def views(graph: onnx.GraphProto) -> bytes:
    return metadata("onnxattr.layer_views", base64.b64encode(graph.SerializeToString()).decode())


def with_bytes(old: bytes, new: bytes, model: onnx.ModelProto | None = None) -> bytes:
    """A file in which bytes stand for others of the same number."""
    data = (mlp().model if model is None else model).SerializeToString()
    assert old in data
    assert len(old) == len(new)
    return data.replace(old, new)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    size, length = len(content), b""
    while size >= 128:
        length, size = length + bytes([size % 128 | 128]), size // 128
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def deep_graphs(levels: int) -> bytes:
    """Graphs inside graphs, written by hand: libraries cannot even make so many."""
    graph = b""
    for _ in range(levels):
        graph = field(1, field(5, field(6, graph)))
    return b"\x08\x08" + field(7, graph)


def deep_type(levels: int) -> bytes:
    """An input that is a sequence of sequences of ... tensors."""
    kind = field(1, b"\x08\x01")
    for _ in range(levels):
        kind = field(4, field(1, kind))
    value = field(11, field(1, b"x") + field(2, kind))
    return b"\x08\x08" + field(7, value + field(1, field(1, b"x") + field(2, b"y") + field(4, b"Identity")))


def nested_branches(levels: int) -> bytes:
    """Ifs inside Ifs, so many deep, which can be run."""
    model = build(branch_chain(levels), VECTOR[0] | {"c": ([], TensorProto.BOOL)}, VECTOR[1])
    return model.SerializeToString()


def branch_chain(levels: int) -> list[onnx.NodeProto]:
    """The nodes of a graph that holds an If of an If of ... of a Sin."""
    value = lambda name: helper.make_tensor_value_info(name, 1, ["N", 4])  # noqa: E731
    nodes = [node("Sin", ["x"], ["b0" if levels else "y"])]
    for level in range(levels):
        name = "y" if level == levels - 1 else f"b{level + 1}"
        inner = helper.make_graph(nodes, f"g{level}", [], [value(f"b{level}")])
        other = helper.make_graph([node("Neg", ["x"], [f"e{level}"])], f"h{level}", [], [value(f"e{level}")])
        nodes = [node("If", ["c"], [name], then_branch=inner, else_branch=other)]
    return nodes


def sparse(indices: list[int], dims: list[int], values: int = 2) -> bytes:
    """A model whose weights are sparse."""
    model = build([node("MatMul", ["x", "w"], ["y"])], *VECTOR)
    numbers = numpy_helper.from_array(np.arange(1, values + 1, dtype=np.float32), "w")
    places = numpy_helper.from_array(np.array(indices, np.int64), "w_indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(numbers, places, dims))
    return model.SerializeToString()


def sliced(shape: list[int | str], nodes: list[onnx.NodeProto]) -> bytes:
    """An input, behind the nodes cut along its first and its last axis."""
    arrays = {
        "a": np.array([0, 0]),
        "b": np.array([2, 2]),
        "d": np.array([0, -1]),
        "p": np.array([0, 0, 0, -10]),
    }
    arrays |= {"k": np.ones((1, 1, 5, 5), np.float32)}
    nodes = [*nodes, node("Slice", ["h" if nodes else "x", "a", "b", "d"], ["y"])]
    used = {name: array for name, array in arrays.items() if any(name in item.input for item in nodes)}
    return build(nodes, {"x": shape}, {"y": [None] * len(shape)}, used).SerializeToString()


def of(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def one(op: str, inputs: list[str] = ["x"], weights: Any = (), **attributes: Any) -> bytes:  # noqa: B006
    """A model of one node."""
    return build([node(op, inputs, ["y"], **attributes)], *VECTOR, weights).SerializeToString()


def without_attributes(op: str) -> bytes:
    model = of(CONTROL)

    def strip(model: onnx.ModelProto) -> None:
        for item in model.graph.node:
            if item.op_type == op:
                del item.attribute[:]

    return changed(strip, model)


def untyped_attribute(kind: int) -> bytes:
    """An attribute that says it is of a type, of which it has no value."""
    return changed(lambda m: m.graph.node[0].attribute.add(name="axis", type=kind))
