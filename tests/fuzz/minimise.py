"""Makes a failing model as small as it still fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import onnx
from onnx import helper

from fuzz.generate import Case
from fuzz.judge import Verdict, judge


def minimise(case: Case, verdict: Verdict) -> Case:
    """The smallest case found whose judgement has the same status and check."""
    smaller = True
    while smaller:
        smaller = False
        for model in _smaller(case.model):
            if _size(model) >= _size(case.model):
                continue
            shorter = replace(case, model=model)
            found = judge(shorter)
            if (found.status, found.check) == (verdict.status, verdict.check):
                case, smaller = shorter, True
                break
    return case


def _size(model: onnx.ModelProto) -> tuple[int, int, int]:
    nodes = model.graph.node
    return sum(node.op_type != "Identity" for node in nodes), len(nodes), len(model.graph.output)


def _smaller(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """The model cut at an earlier value, or with a node passed by, or without a further output."""
    nodes = model.graph.node
    last = next(node for node in nodes if "y" in node.output)
    for node in nodes:
        if node is not last and node.output[0] not in last.input:
            yield _with(model, "y", node.output[0])
    for node in nodes:
        if node is not last and node.op_type != "Identity" and node.input and node.input[0]:
            yield _with(model, node.output[0], node.input[0])
    for output in model.graph.output:
        if output.name != "y":
            shorter = _copy(model)
            shorter.graph.output.remove(output)
            yield shorter


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _with(model: onnx.ModelProto, name: str, source: str) -> onnx.ModelProto:
    """A copy in which a value is another one, without what nothing reads then and without declared inner shapes."""
    copy = _copy(model)
    graph = copy.graph
    del graph.value_info[:]
    for node in list(graph.node):
        if name in node.output:
            graph.node.remove(node)
    position = max((k + 1 for k, node in enumerate(graph.node) if source in node.output), default=0)
    graph.node.insert(position, helper.make_node("Identity", [source], [name]))
    _prune(graph)
    _declare_rank(copy)
    return copy


def _declare_rank(model: onnx.ModelProto) -> None:
    """Declares the rank of y, as the cut may have changed it."""
    (y,) = (output for output in model.graph.output if output.name == "y")
    y.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model).graph.output
    rank = next(len(output.type.tensor_type.shape.dim) for output in inferred if output.name == "y")
    for _ in range(rank):
        y.type.tensor_type.shape.dim.add()


def _prune(graph: onnx.GraphProto) -> None:
    needed = {output.name for output in graph.output}
    for node in reversed(list(graph.node)):
        if needed.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            needed.update(_read(node))
    for tensor in list(graph.initializer):
        if tensor.name not in needed:
            graph.initializer.remove(tensor)
            # Files of old exporters list weights among their inputs too.
            for value in [value for value in graph.input if value.name == tensor.name]:
                graph.input.remove(value)


def _read(node: onnx.NodeProto) -> set[str]:
    """What a node reads, its subgraphs' captures included."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names |= _read(inner)
        names |= {output.name for output in attribute.g.output}
    return names
