"""What a model holds for someone who wants to explain it: inputs, outputs, layers, operators and their rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.engine import active_nodes, is_float
from onnxattr.autodiff.registry import NON_DIFFERENTIABLE, op_name
from onnxattr.autodiff.standard import STANDARD
from onnxattr.compile.explainer_file import describe
from onnxattr.decompositions.standard import DECOMPOSITIONS
from onnxattr.errors import one_door
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.subgraphs import captures_of, subgraphs_of
from onnxattr.graph.values import dims_of
from onnxattr.inspection.places import place_lines
from onnxattr.loading.discrete import unexplained
from onnxattr.loading.features import read_features
from onnxattr.loading.free_batch import free_batch
from onnxattr.loading.heads import is_binary, probability_head, threshold, unit_of
from onnxattr.loading.layers import read_layers
from onnxattr.loading.load import load
from onnxattr.loading.prepared import opset_of
from onnxattr.loading.reading.source import ModelSource, name_of
from onnxattr.loading.rows.independence import MIXED, PROVEN, SINGLE, UNDECIDED, independence
from onnxattr.loading.verify import check_choice, verify_model


def inspect(source: ModelSource, verify: bool | str = False, full: bool = False) -> str:
    """Describes a model: inputs, outputs, layers or values to name as output_layer or wrt, operators with their rules.

    Of an exported explainer it tells the method, its parameters and the model it is of.

    Args:
        source: A path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or Keras model.
        verify: Whether the prediction of the model, brought to the form that is explained, is compared with its own
            in ONNX Runtime: "auto" for small models that were changed, True for all, False for none.
        full: Whether a long table of layers or values is listed to its end.

    Raises:
        ModelError: If the model cannot be read, or the predictions differ.
        ParameterError: If ``verify`` is none of these.
    """
    check_choice(verify)
    model = load(source)
    with one_door(f"{name_of(source)} cannot be described"):
        verify_model(model, verify)
        return _described(model, full)


def _described(model: ir.Model, full: bool) -> str:
    graph = model.graph
    lines = [f"ai.onnx opset {opset_of(model)}, {len(graph)} nodes", "", "Inputs"]
    lines += [f"  {_describe(value)}" for value in graph.inputs]
    lines += ["", "Outputs"]
    layers = read_layers(model.metadata_props)
    for value in graph.outputs:
        logits = probability_head(graph, value)
        lines.append(f"  {_describe(value)}" + (f"   probabilities; logits: {logits}" if logits else ""))
        unit = unit_of(graph, value, layers)
        if is_binary(unit):
            lines.append(
                f"    one unit, the {unit} of class 1: label 1 explains it, label 0 its negative; predicted: 1 above "
                f"{threshold(unit):g}"
            )
    explainer = describe(model.metadata_props)
    if explainer is not None:
        lines += _feature_lines(read_features(model.metadata_props))
        return "\n".join([*lines, "", "Explainer", *_nested(explainer)])
    lines += _integer_lines(graph)
    lines += _feature_lines(read_features(model.metadata_props))
    lines += ["", "Samples", f"  {_rows(model)}"]
    lines += place_lines(graph, layers, full)
    lines += _operator_lines(graph)
    return "\n".join(lines)


def supported_operators() -> str:
    """The operators with a VJP rule and its formula, those written out in others, those without gradient by nature."""
    lines = _formulas(STANDARD)
    lines += ["", "Written out in operators of ai.onnx", *_formulas(DECOMPOSITIONS)]
    return "\n".join([*lines, "", "No gradient by nature: " + ", ".join(sorted(NON_DIFFERENTIABLE))])


def _formulas(functions: Mapping[str, Any]) -> list[str]:
    width = max(map(len, functions))
    return [
        f"{name:{width}}  {(functions[name].__doc__ or '').splitlines()[0]}" for name in sorted(functions)
    ]


_KINDS = {
    PROVEN: "independent of each other, by proof: explained in any chunks",
    MIXED: "the whole first axis is one sample",
    UNDECIDED: "not known: run alone and among others, and compared, before the first explanation",
    SINGLE: "one a run: the model has a fixed batch of 1",
}


def _rows(model: ir.Model) -> str:
    """Whether the rows of the inputs are apart in the float outputs."""
    graph, opset = model.clone().graph, opset_of(model)
    free_batch(graph, opset)
    rows = independence(graph, opset, [value for value in graph.outputs if value.dtype in FLOATS])
    return f"{_KINDS[rows.kind]}: {rows.why}" if rows.why else _KINDS[rows.kind]


def _describe(value: ir.Value) -> str:
    dims = ", ".join("?" if dim is None else str(dim) for dim in dims_of(value) or [])
    return f"{value.name}: {value.dtype.name.lower() if value.dtype else 'unknown'} ({dims})"


def _nested(entries: Mapping[str, Any], indent: str = "  ") -> list[str]:
    """The entries of an explainer's metadata, a line each."""
    lines = []
    for key, value in sorted(entries.items()):
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}", *_nested(value, indent + "  ")]
        else:
            text = str(value)
            lines.append(f"{indent}{key}: {text if len(text) < 100 else text[:97] + '...'}")
    return lines


def _integer_lines(graph: ir.Graph) -> list[str]:
    """The integers that reach each float output, with the float values that are made of them."""
    found: dict[str, list[str]] = {}
    for output in graph.outputs:
        if output.dtype in FLOATS:
            for code, names in unexplained(graph, output).items():
                found[code] = list(dict.fromkeys([*found.get(code, []), *names]))
    if not found:
        return []
    lines = ["", "Integers without gradient, and the float values made of them to explain instead (wrt=...)"]
    return lines + [f"  {code}:  {',  '.join(names)}" for code, names in found.items()]


def _feature_lines(features: Mapping[str, Sequence[str]]) -> list[str]:
    """The names of the columns of each input that has some."""
    return [
        line
        for name, columns in features.items()
        for line in (
            "",
            f"Features of {name}, by which the columns of tables are matched",
            f"  {', '.join(columns)}",
        )
    ]


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


def _operator_lines(graph: ir.Graph) -> list[str]:
    sources = [value for value in graph.inputs if value.dtype in FLOATS]
    scores = [value for value in graph.outputs if value.dtype in FLOATS]
    counts = Counter(op_name(node) for node in graph.all_nodes())
    on_path = Counter(op_name(node) for node in _on_path(graph, scores, sources))
    lines = ["", "Operators (count, on the way from input to output, rule)"]
    for name, count in sorted(counts.items()):
        if name in STANDARD:
            rule = (STANDARD[name].__doc__ or "").splitlines()[0]
        elif name in NON_DIFFERENTIABLE:
            rule = "no gradient by nature"
        else:
            rule = "NO RULE" + ("" if on_path[name] else ", not needed")
        lines.append(f"  {count:>5} {on_path[name]:>5}  {name:24} {rule}")
    return lines
