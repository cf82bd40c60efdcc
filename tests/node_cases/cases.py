"""The node tests that onnx itself ships: one small model each, with its inputs and the outputs it must give."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from node_cases.quick import made_quickly

#: The element types that have an arithmetic, and so a derivative; 8-bit and 4-bit floats are codes to be decoded.
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


@dataclass(frozen=True)
class NodeCase:
    """One case.

    Attributes:
        name: Its name in onnx, without ``test_``.
        op: The operator it is about, "domain::Name" outside ai.onnx.
        expanded: Whether the operator is written out as the function that defines it.
        model: The model; every input and output is a tensor.
        inputs: Arrays by name.
        expected: The outputs that onnx stores, by name.
    """

    name: str
    op: str
    expanded: bool
    model: onnx.ModelProto
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]

    def __str__(self) -> str:
        return self.name

    @property
    def opset(self) -> int:
        """The version of the operator set that the case is written for."""
        return self.model.opset_import[0].version


@functools.cache
def collect() -> dict[str, NodeCase]:
    """Every node test of the installed onnx, by name."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), made_quickly():
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    operators = {test.name: _operator(test.model) for test in tests}
    cases = {}
    for test in tests:
        base, expanded, _ = test.name.partition("_expanded")
        (arrays, expected), *_ = test.data_sets
        name = test.name.removeprefix("test_")
        cases[name] = NodeCase(
            name, operators[base], bool(expanded), *_as_tensors(test.model, arrays, expected)
        )
    return cases


def _operator(model: onnx.ModelProto) -> str:
    """The operator of the last node; what stands before it are constants."""
    node = model.graph.node[-1]
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def _as_tensors(
    model: onnx.ModelProto, arrays: Sequence[Any], expected: Sequence[Any]
) -> tuple[onnx.ModelProto, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The model with its sequences and optionals built from tensors, and taken apart into tensors, inside of it."""
    wrapped = onnx.ModelProto()
    wrapped.CopyFrom(model)
    graph = wrapped.graph
    del graph.node[:], graph.input[:], graph.output[:]
    feeds: dict[str, np.ndarray] = {}
    results: dict[str, np.ndarray] = {}
    for value, given in zip(model.graph.input, arrays, strict=True):
        graph.node.extend(_build(value, given, graph, feeds))
    graph.node.extend(model.graph.node)
    for value, given in zip(model.graph.output, expected, strict=True):
        graph.node.extend(_take_apart(value, given, graph, results))
    return wrapped, feeds, results


def _build(
    value: onnx.ValueInfoProto, given: Any, graph: onnx.GraphProto, feeds: dict[str, np.ndarray]
) -> list[onnx.NodeProto]:
    """The nodes that make an input of the case from tensors; the tensors become inputs of the graph."""
    kind, name = value.type, value.name
    if kind.HasField("tensor_type"):
        graph.input.append(value)
        feeds[name] = to_array(given)
        return []
    if kind.HasField("optional_type"):
        inner = kind.optional_type.elem_type
        if given is None:
            return [helper.make_node("Optional", [], [name], type=inner)]
        content = onnx.ValueInfoProto(name=f"{name}_content", type=inner)
        if inner.HasField("tensor_type") and isinstance(given, list):
            (given,) = given
        return [
            *_build(content, given, graph, feeds),
            helper.make_node("Optional", [content.name], [name]),
        ]
    element = kind.sequence_type.elem_type
    parts = [f"{name}_{index}" for index in range(len(given))]
    for part, array in zip(parts, map(to_array, given), strict=True):
        feeds[part] = array
        graph.input.append(helper.make_tensor_value_info(part, element.tensor_type.elem_type, array.shape))
    if not parts:
        return [helper.make_node("SequenceEmpty", [], [name], dtype=element.tensor_type.elem_type)]
    return [helper.make_node("SequenceConstruct", parts, [name])]


def _take_apart(
    value: onnx.ValueInfoProto, given: Any, graph: onnx.GraphProto, results: dict[str, np.ndarray]
) -> list[onnx.NodeProto]:
    """The nodes that take an output of the case apart into tensors, which become outputs of the graph."""
    kind, name, nodes = value.type, value.name, []
    if kind.HasField("tensor_type"):
        graph.output.append(value)
        results[name] = to_array(given)
        return []
    if kind.HasField("optional_type"):
        kind, whole = kind.optional_type.elem_type, name
        name = f"{name}_content"
        nodes.append(helper.make_node("OptionalGetElement", [whole], [name]))
        if kind.HasField("tensor_type"):
            return nodes + _take_apart(onnx.ValueInfoProto(name=name, type=kind), given, graph, results)
    element = kind.sequence_type.elem_type.tensor_type.elem_type
    for index, array in enumerate(map(to_array, given)):
        part, position = f"{name}_{index}", f"{name}_position_{index}"
        tensor = helper.make_tensor(position, TensorProto.INT64, [], [index])
        nodes.append(helper.make_node("Constant", [], [position], value=tensor))
        nodes.append(helper.make_node("SequenceAt", [name, position], [part]))
        graph.output.append(helper.make_tensor_value_info(part, element, array.shape))
        results[part] = array
    return nodes


def to_array(given: Any) -> np.ndarray:
    """A stored tensor as an array; those of types that numpy lacks are stored as protobufs."""
    return numpy_helper.to_array(given) if isinstance(given, onnx.TensorProto) else np.asarray(given)


def float_names(values: Sequence[onnx.ValueInfoProto]) -> list[str]:
    """The names of the values that have a float element type."""
    return [value.name for value in values if value.type.tensor_type.elem_type in FLOATS]


def with_constants(case: NodeCase) -> NodeCase:
    """The case with its inputs that are not float stored in the model, as exporters store axes, pads and indices."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    variables = set(float_names(model.graph.input))
    kept = [value for value in model.graph.input if value.name in variables]
    for value in model.graph.input:
        if value.name not in variables:
            model.graph.initializer.append(numpy_helper.from_array(case.inputs[value.name], value.name))
    del model.graph.input[:]
    model.graph.input.extend(kept)
    inputs = {name: array for name, array in case.inputs.items() if name in variables}
    return dataclasses.replace(case, model=model, inputs=inputs)
