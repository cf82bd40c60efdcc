"""What of a model can be named as ``output_layer`` and ``wrt``: its layers, or its values, with shapes and marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of, needed_nodes
from onnxattr.autodiff.registry import op_name
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of, named_values, shape_text
from onnxattr.loading.landmarks import convolution_before, embeddings_before
from onnxattr.loading.layers import Layer

#: Most lines of a table unless all are asked for: so many from its beginning, and so many from its end.
_FIRST, _LAST = 15, 45


def place_lines(graph: ir.Graph, layers: Sequence[Layer], full: bool) -> list[str]:
    """A line for each layer, or for each float value of a model without a layer table.

    Args:
        graph: The model.
        layers: Its layer table.
        full: Whether all are listed; else a long table is cut, but for what is marked.
    """
    marks = _marks(graph, layers)
    if layers:
        title = "Layers usable as output_layer and wrt (index, path, class, shape)"
        return ["", title, *_cut(_of_layers(graph, layers, marks), full)]
    values = _of_values(graph, marks)
    title = "No layer table; any value or node name serves as output_layer and wrt."
    return ["", title, *(["Float values (name, operator, shape)", *_cut(values, full)] if values else [])]


def _marks(graph: ir.Graph, layers: Sequence[Layer]) -> dict[str, str]:
    """What is to be said of values, by name."""
    marks: dict[str, str] = {}
    for output in graph.outputs:
        if output.dtype in FLOATS:
            last = convolution_before(graph, layers, output)
            if last is not None:
                marks[str(last.name)] = "last convolution"
            marks |= {str(value.name): "embedding" for value in embeddings_before(graph, output)}
    return marks


#: A line, and whether it is marked.
Line = tuple[str, bool]


def _of_layers(graph: ir.Graph, layers: Sequence[Layer], marks: Mapping[str, str]) -> list[Line]:
    values, told, lines = named_values(graph), set[str](), list[Line]()
    for layer in layers:
        index = "" if layer.index is None else str(layer.index)
        shapes = [shape_text(dims_of(values[name])) for name in layer.outputs if name in values]
        note = f"  {', '.join(shapes)}" if shapes else f"   folded: {layer.folded}"
        note += "   relu" if any(record.xplique for record in layer.relus) else ""
        # A layer that does nothing, such as dropout, has the output of the one before it.
        mark = next((marks[name] for name in layer.outputs if name in marks and name not in told), "")
        told.update(layer.outputs if mark else ())
        lines.append((f"  {index:>4}  {layer.path}  ({layer.class_name}){note}{_marked(mark)}", bool(mark)))
    return lines


def _of_values(graph: ir.Graph, marks: Mapping[str, str]) -> list[Line]:
    lines, computed = [], set(graph.inputs)
    for node in needed_nodes(graph.outputs):
        if computed.isdisjoint(inputs_of(node)):
            continue  # weights, such as dequantised ones
        computed.update(node.outputs)
        for value in node.outputs:
            if value.name and value.dtype in FLOATS and dims_of(value) != []:
                mark = marks.get(value.name, "")
                text = f"  {value.name}  {op_name(node)}  {shape_text(dims_of(value))}{_marked(mark)}"
                lines.append((text, bool(mark)))
    return lines


def _marked(mark: str) -> str:
    return f"   {mark}" if mark else ""


def _cut(lines: Sequence[Line], full: bool) -> list[str]:
    if full or len(lines) <= _FIRST + _LAST:
        return [text for text, _ in lines]
    found: list[str] = []
    for place, (text, marked) in enumerate(lines):
        if marked or place < _FIRST or place >= len(lines) - _LAST:
            found.append(text)
        elif found[-1] != "  ...":
            found.append("  ...")
    shown = sum(line != "  ..." for line in found)
    return [*found, f"  {shown} of {len(lines)} are shown; `onnxattr inspect --all` lists all."]
