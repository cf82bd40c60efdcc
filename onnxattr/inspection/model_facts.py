"""The facts that ``onnxattr inspect`` tells, as plain data: docs/inspect.md lists the keys."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.paths import active_nodes, is_float
from onnxattr.autodiff.registry import NON_DIFFERENTIABLE, op_name
from onnxattr.autodiff.standard import STANDARD
from onnxattr.compile.explainer_file import describe
from onnxattr.errors import OnnxAttrError, one_door
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.schemas import opset_of
from onnxattr.graph.subgraphs import captures_of, subgraphs_of
from onnxattr.graph.values import dims_of
from onnxattr.inspection.command import command_for, options_for
from onnxattr.inspection.cost import estimate, measure
from onnxattr.inspection.data_file import data_facts
from onnxattr.inspection.inputs import input_facts, output_facts, shape_of
from onnxattr.loading.discrete import unexplained
from onnxattr.loading.draws import draws
from onnxattr.loading.explained import float_inputs
from onnxattr.loading.free_batch import free_batch
from onnxattr.loading.landmarks import convolution_before, tables_before
from onnxattr.loading.layers import read_layers
from onnxattr.loading.load import load
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.reading.source import ModelSource, name_of
from onnxattr.loading.rows.independence import MIXED, SINGLE, Rows, independence
from onnxattr.loading.stepped import parts_in_steps
from onnxattr.loading.verify import check_choice, verify_model
from onnxattr.running.explainers.record import change_told
from onnxattr.running.saturation import saturation

#: Gradients that Integrated Gradients take unless told otherwise.
_STEPS = 50


def facts(source: ModelSource, verify: bool | str = False, *, measured: bool = False) -> dict[str, Any]:
    """What someone who wants to explain a model has to know of it, as data that JSON can hold.

    Args:
        source: A path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or Keras model.
        verify: See ``inspect``.
        measured: Whether the cost is measured on a drawn sample, not estimated.

    Raises:
        ModelError: If the model cannot be read, or the predictions differ.
        ParameterError: If ``verify`` is none of its values.
    """
    check_choice(verify)
    model = load(source)
    with one_door(f"{name_of(source)} cannot be described"):
        verify_model(model, verify)
        return facts_of(model, source, measured)


def facts_of(model: ir.Model, source: ModelSource, measured: bool = False) -> dict[str, Any]:
    """See ``facts``."""
    graph, layers = model.graph, read_layers(model.metadata_props)
    outputs = [value for value in graph.outputs if value.dtype in FLOATS]
    sources = [value for value in graph.inputs if value.dtype in FLOATS]
    explainer = describe(model.metadata_props)
    rows, batch = _rows(model, explainer)
    named = next((str(value.name) for value in (*outputs, *graph.outputs)), "")
    prepared = Prepared(model, layers, named, tuple(str(v.name) for v in sources), rows=rows)
    spec = prepared.preprocessing
    on_path = _on_path(graph, outputs, sources or [value for out in outputs for value in _made(graph, out)])
    found: dict[str, Any] = {
        "file": os.fspath(source) if isinstance(source, (str, os.PathLike)) else "",
        "opset": opset_of(model),
        "nodes": len(graph),
        "inputs": [input_facts(prepared, value) for value in graph.inputs],
        "outputs": [output_facts(prepared, graph, value, layers) for value in graph.outputs],
        "batch": batch,
        "samples": {"kind": rows.kind, "why": rows.why},
        "classes": list(prepared.class_names),
        "preprocessing": None if spec is None else dataclasses.asdict(spec),
        "explained": _explained(graph, outputs, explainer),
        "last_convolution": _last_convolution(graph, layers, outputs),
        "embeddings": _embeddings(graph, outputs),
        "made_of_integers": _made_of_integers(graph, outputs),
        "draws": draws(graph, outputs),
        "in_steps": {} if explainer else parts_in_steps(model, outputs, sources),
        "may_saturate": saturation(graph),
        "operators": _operators(graph, on_path),
        "without_rule": [] if explainer else _without_rule(on_path),
        "explainer": explainer,
        "changed": None if explainer is None else change_told(source),
        "data_file": data_facts(source, model.metadata_props),
    }
    if explainer is not None:
        _tell_apart(found["inputs"], explainer)
    options = {} if explainer else options_for(found)
    found["cost"] = None
    if explainer is None and not found["without_rule"] and outputs:
        found["cost"] = _cost(model, source, on_path, found, options if measured else None)
    found["command"], found["command_reads"] = command_for(found, options)
    return found


def _tell_apart(inputs: Sequence[dict[str, Any]], explainer: dict[str, Any]) -> None:
    """Says of each input of an explainer whether it is one of its model."""
    for one in inputs:
        if one["name"] not in explainer["inputs"]:
            own = next((kind for kind in ("target", "seed") if one["name"] == explainer[kind]), "baseline")
            one["kind"] = own


def _cost(
    model: ir.Model,
    source: Any,
    on_path: Sequence[ir.Node],
    found: dict[str, Any],
    options: dict[str, Any] | None,
) -> dict[str, Any]:
    images = [one["name"] for one in found["inputs"] if one["kind"] == "image"]
    cost = estimate(model, on_path, images)
    if options is not None:
        try:
            times = measure(source, options)
        except OnnxAttrError:
            times = None
        if times is not None:
            known = {name: fact for name, fact in cost.items() if name != "why"}
            cost = {"memory_bytes": None, "sizes": {}} | known | times
    return cost | {"default_gradients": _STEPS + 1}


def _rows(model: ir.Model, explainer: Mapping[str, Any] | None) -> tuple[Rows, str | int]:
    """How the first axis of the inputs is to be understood, and how many samples a run takes; an explainer's file says.

    That is "free", "one in a run", a fixed number, or "none" where the whole first axis is one sample.
    """
    graph, opset = model.clone().graph, opset_of(model)
    free_batch(graph, opset)
    if explainer is not None and explainer.get("rows"):
        rows = Rows(explainer["rows"], explainer.get("rows_why") or "")
    else:
        rows = independence(graph, opset, [value for value in graph.outputs if value.dtype in FLOATS])
    fixed = {dims[0] for value in graph.inputs if (dims := dims_of(value)) and isinstance(dims[0], int)}
    if rows.kind == MIXED:
        return rows, "none"
    if rows.kind == SINGLE or 1 in fixed:
        return rows, "one in a run"
    return rows, next(iter(fixed), "free")


def _explained(graph: ir.Graph, outputs: Sequence[ir.Value], explainer: dict[str, Any] | None) -> list[str]:
    """What is explained unless something is named: the float inputs that reach the output."""
    if explainer is not None:
        return list(explainer["explained"])
    try:
        return [place.name for place in float_inputs(graph, outputs[:1], STANDARD)] if outputs else []
    except OnnxAttrError:
        return []


def _last_convolution(graph: ir.Graph, layers: Any, outputs: Sequence[ir.Value]) -> dict[str, Any] | None:
    for output in outputs:
        value = convolution_before(graph, layers, output)
        if value is not None:
            layer = next((layer.path for layer in layers if value.name in layer.outputs), None)
            return {"name": layer or str(value.name), "value": str(value.name), "shape": shape_of(value)}
    return None


def _embeddings(graph: ir.Graph, outputs: Sequence[ir.Value]) -> list[dict[str, Any]]:
    """The values that tables give for ids, the words' first."""
    found = {str(t.value.name): t for output in outputs for t in tables_before(graph, output)}
    tables = sorted(found.values(), key=lambda table: (not table.words, -table.rows))
    first = next((table for table in tables if table.words and len(dims_of(table.value) or []) == 3), None)
    return [
        {
            "name": str(table.value.name),
            "shape": shape_of(table.value),
            "rows": table.rows,
            "ids": table.ids,
            "words": table is first,
        }
        for table in tables
    ]


def _made(graph: ir.Graph, output: ir.Value) -> list[ir.Value]:
    names = {name for made in unexplained(graph, output).values() for name in made}
    return [value for node in graph for value in node.outputs if value.name in names]


def _made_of_integers(graph: ir.Graph, outputs: Sequence[ir.Value]) -> list[dict[str, Any]]:
    """The float values that are made of integers first, with the integers they are made of."""
    found: dict[str, list[str]] = {}
    for output in outputs:
        for code, names in unexplained(graph, output).items():
            found[code] = list(dict.fromkeys([*found.get(code, []), *names]))
    return [{"name": name, "of": code} for code, names in found.items() for name in names]


def _on_path(graph: ir.Graph, scores: Sequence[ir.Value], sources: Sequence[ir.Value]) -> list[ir.Node]:
    """The nodes between sources and scores; inside subgraphs, those between whatever goes in and comes out."""
    chosen, needed = active_nodes(list(graph), scores, sources)
    inside = []
    for node in chosen:
        captured = [value for value in captures_of(node) if value in needed]
        for body in subgraphs_of(node):
            ends = [value for value in body.outputs if is_float(value)]
            inside += _on_path(body, ends, [*filter(is_float, body.inputs), *captured])
    return [*chosen, *inside]


def _operators(graph: ir.Graph, on_path: Sequence[ir.Node]) -> list[dict[str, Any]]:
    """Each operator with its count, the count on the way from input to output, and its rule."""
    counts = Counter(op_name(node) for node in graph.all_nodes())
    active = Counter(op_name(node) for node in on_path)
    found = []
    for name, count in sorted(counts.items()):
        rule = None
        if name in STANDARD:
            rule = (STANDARD[name].__doc__ or "").splitlines()[0]
        elif name in NON_DIFFERENTIABLE:
            rule = "no gradient by nature"
        found.append({"name": name, "count": count, "on_path": active[name], "rule": rule})
    return found


def _without_rule(on_path: Sequence[ir.Node]) -> list[str]:
    names = {op_name(node) for node in on_path}
    return sorted(name for name in names if name not in STANDARD and name not in NON_DIFFERENTIABLE)
