"""A loaded model, cut at the layer to be explained: what the rewriter and the methods work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxattr.autodiff import FLOATS, inputs_of, needed_nodes, reaching
from onnxattr.errors import ModelError, one_door
from onnxattr.layers import Layer, read_layers
from onnxattr.loading.batch_first import put_batch_first
from onnxattr.loading.discrete import explainable
from onnxattr.loading.features import read_features
from onnxattr.loading.free_batch import free_batch
from onnxattr.loading.heads import unit_of
from onnxattr.loading.load import DIGEST, FILES, FOLDER, load
from onnxattr.loading.precision import set_precision
from onnxattr.loading.row_independence import OPEN, Rows, independence
from onnxattr.loading.source import ModelSource, name_of
from onnxattr.loading.verify import check_choice, verify_model
from onnxattr.subgraphs import prune, subgraphs_of
from onnxattr.values import dims_of, values_of


@dataclass
class Prepared:
    """A model ready to be rewritten. ``model`` is never changed; builders work on ``clone()``.

    Attributes:
        model: The checked, upgraded model whose only output is the explained one.
        layers: The layer table stored by the converter, empty for other models.
        output: Name of the value whose score is explained.
        wrt: Names of the values that are explained: float inputs, or inner values on request.
        unit: What the output's only unit gives, see ``heads.unit_of``; None where it has several or nothing is known.
        rows: How the first axis of the inputs is to be understood.
    """

    model: ir.Model
    layers: list[Layer]
    output: str
    wrt: tuple[str, ...]
    unit: str | None = None
    rows: Rows = OPEN

    @property
    def opset(self) -> int:
        """The ai.onnx opset of the model and of everything appended to it."""
        return opset_of(self.model)

    @property
    def folder(self) -> Path | None:
        """Where the model's external data lies; None if it was not loaded from a file."""
        return self.model.meta.get(FOLDER)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the model is read from: its own and those of its external data."""
        return self.model.meta.get(FILES, ())

    @property
    def digest(self) -> str:
        """The SHA-256 of the model's file."""
        return self.model.meta.get(DIGEST, "")

    @property
    def features(self) -> dict[str, tuple[str, ...]]:
        """The names of the columns of each input that has some."""
        return read_features(self.model.metadata_props)

    @property
    def inputs(self) -> list[ir.Value]:
        """The model's inputs."""
        return list(self.model.graph.inputs)

    def value(self, name: str) -> ir.Value:
        """The value of that name in the (unchanged) model."""
        return self.values[name]

    @cached_property
    def values(self) -> dict[str, ir.Value]:
        """Every value of the (unchanged) model by its name."""
        return named_values(self.model.graph)

    def clone(self) -> ir.Model:
        """A copy to build on; weights are shared."""
        return self.model.clone()

    def proto(self) -> onnx.ModelProto:
        """The cut model itself, as ONNX."""
        return ir.serde.serialize_model(self.model)

    def part(self, names: Sequence[str]) -> onnx.ModelProto:
        """The part of the model that computes some values, which are its outputs."""
        values = self.values
        needed = needed_nodes(values[name] for name in names)
        made = {value.name for node in needed for value in node.outputs}
        read = dict.fromkeys(value for node in needed for value in inputs_of(node))
        sources = [v for v in read if v.producer() is None and v.const_value is None]
        proto = self.proto()
        nodes = [node for node in proto.graph.node if not made.isdisjoint(node.output)]
        del proto.graph.node[:], proto.graph.input[:], proto.graph.output[:]
        proto.graph.node.extend(nodes)
        proto.graph.input.extend(map(ir.serde.serialize_value, sources))
        proto.graph.output.extend(ir.serde.serialize_value(values[name]) for name in names)
        return proto


def opset_of(model: ir.Model) -> int:
    """The ai.onnx opset of a model."""
    return model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))


def named_values(graph: ir.Graph) -> dict[str, ir.Value]:
    """The values of a graph and of its subgraphs by name; where names repeat, the outer one."""
    return {value.name: value for value in reversed(list(values_of(graph))) if value.name}


def check_outside(graph: ir.Graph, value: ir.Value, what: str) -> None:
    """Refuses values inside subgraphs.

    Raises:
        ModelError: If the value is not one of the graph itself.
    """
    if value.graph is not graph:
        holder = next(n for n in graph if any(value in values_of(body) for body in subgraphs_of(n)))
        raise ModelError(
            f"{what} {value.name!r} is inside a subgraph of the {holder.op_type} node {holder.name!r}, where it may "
            "have no value or many; name a value outside, such as an output of that node."
        )


def prepare(
    source: ModelSource,
    output_layer: str | int | None = None,
    wrt: str | tuple[str, ...] | None = None,
    precision: str = "model",
    operator: str | None = None,
    verify: bool | str = "auto",
) -> Prepared:
    """Loads a model and cuts it at the output to be explained.

    Args:
        source: A path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or Keras model.
        output_layer: A layer name or index of the layer table, or the name of any value or node. None for the
            model's own output.
        wrt: Names of the values to explain. None for every float input.
        precision: "model", or "float32" to compute what is of half precision in float32.
        operator: "classification", "regression" or None: what an output of one unit is, where the graph does not tell.
        verify: Whether the prediction of the prepared model is compared with that of the model itself, in ONNX Runtime
            on drawn inputs: "auto" for small models that preparing changed, True for all that run, False for none.

    Raises:
        ModelError: If the model is invalid, the output is ambiguous or unknown, nothing float can be explained, or
            preparing the model changed its prediction.
        ParameterError: If a parameter is outside its domain.
    """
    check_choice(verify)
    model = load(source)
    with one_door(f"{name_of(source)} cannot be prepared"):
        prepared = _cut(model, output_layer, wrt, precision, operator)
        verify_model(model, verify)
        return prepared


def _cut(
    model: ir.Model,
    output_layer: str | int | None,
    wrt: str | tuple[str, ...] | None,
    precision: str,
    operator: str | None,
) -> Prepared:
    set_precision(model, precision)
    layers = read_layers(model.metadata_props)
    output = _find_output(model.graph, layers, output_layer)
    if output in model.graph.inputs:
        output = _copy_of(model.graph, output)
    unit = unit_of(model.graph, output, layers, operator)
    model.graph.outputs[:] = [output]
    prune(model.graph)
    RemoveUnusedNodesPass()(model)
    free_batch(model.graph, opset_of(model))
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt) if wrt is not None else None
    explained = _find_wrt(model.graph, output, names)
    values = named_values(model.graph)
    put_batch_first(model.graph, opset_of(model), [values[name] for name in explained])
    values = named_values(model.graph)
    rows = independence(model.graph, opset_of(model), [output, *(values[name] for name in explained)])
    return Prepared(model, layers, str(output.name), explained, unit, rows)


def _copy_of(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """A value of its own for an input that is the output: what is put in the place of one must leave the other."""
    names = named_values(graph)
    name = f"{value.name}_output"
    while name in names:
        name += "_"
    node = ir.node("Identity", [value])
    node.name, node.outputs[0].name = name, name
    node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
    graph.append(node)
    return node.outputs[0]


def _find_output(graph: ir.Graph, layers: list[Layer], wanted: str | int | None) -> ir.Value:
    if wanted is None:
        outputs = [value for value in graph.outputs if value.dtype in FLOATS]
        if len(outputs) == 1:
            return outputs[0]
        if not outputs:
            names = [str(value.name) for value in graph.outputs]
            raise ModelError(
                f"None of the model's outputs {names} is a float tensor; name a float value as output_layer."
            )
        names = [str(value.name) for value in outputs]
        raise ModelError(
            f"The model has {len(outputs)} float outputs {names}: say which to explain with output_layer=<name>."
        )
    value = _layer_output(graph, layers, wanted)
    check_outside(graph, value, "output_layer")
    if value.dtype not in FLOATS:
        raise ModelError(f"output_layer {wanted!r} is {value.dtype}; only float values have a gradient.")
    return value


def _layer_output(graph: ir.Graph, layers: list[Layer], wanted: str | int) -> ir.Value:
    values = named_values(graph)
    if isinstance(wanted, int):
        indexed = {layer.index: layer for layer in layers if layer.index is not None}
        if not indexed:
            raise ModelError(
                f"output_layer={wanted} is an index, but the model has no layer table; give a value's name."
            )
        position = wanted if wanted >= 0 else wanted + max(indexed) + 1
        if position not in indexed:
            raise ModelError(f"output_layer={wanted}: the model has layers 0 to {max(indexed)}.")
        return _output_of_layer(values, indexed[position])
    matches = [layer for layer in layers if wanted in (layer.path, layer.name)]
    exact = [layer for layer in matches if layer.path == wanted] or matches
    if len(exact) > 1:
        paths = [layer.path for layer in exact]
        raise ModelError(f"output_layer {wanted!r} names several layers: {paths}. Give one of these paths.")
    if exact:
        return _output_of_layer(values, exact[0])
    if wanted in values:
        return values[wanted]
    for node in graph.all_nodes():
        if node.name == wanted:
            return node.outputs[0]
    known = [layer.path for layer in layers if layer.outputs] or [str(v.name) for v in graph.outputs]
    raise ModelError(
        f"output_layer {wanted!r} is neither a layer, a value nor a node of the model. Usable layers: "
        f"{', '.join(map(str, known[:40]))}{' ...' if len(known) > 40 else ''}. See `onnxattr inspect`."
    )


def _output_of_layer(values: dict[str, ir.Value], layer: Layer) -> ir.Value:
    present = [values[name] for name in layer.outputs if name in values]
    if len(present) == 1:
        return present[0]
    if len(present) > 1:
        raise ModelError(
            f"Layer {layer.path!r} has several outputs {list(layer.outputs)}: name one of them as output_layer."
        )
    raise ModelError(
        f"Layer {layer.path!r} is not in the converted model: {layer.folded or 'its output was optimised away'}."
    )


def _find_wrt(graph: ir.Graph, output: ir.Value, names: tuple[str, ...] | None) -> tuple[str, ...]:
    values = named_values(graph)
    if names is None:
        with_rows = [v for v in graph.inputs if v.dtype in FLOATS and dims_of(v) != []]
        reaching_output = reaching(list(graph), output)
        chosen = [v for v in with_rows if v in reaching_output]
        if not chosen:
            suggestion = ", ".join(explainable(graph, output)[:8]) or "none found"
            kinds = ", ".join(f"{v.name} ({v.dtype.name if v.dtype else 'unknown'})" for v in graph.inputs)
            raise ModelError(
                f"No float input reaches the score; the inputs are {kinds}. Explain a float value inside the model "
                f"with wrt=<name>, for example one of: {suggestion}."
            )
        return tuple(str(v.name) for v in chosen)
    reaching_output = reaching(list(graph), output)
    for name in names:
        if name not in values:
            raise ModelError(
                f"wrt {name!r} is not a value of the model. Inputs: {[v.name for v in graph.inputs]}. "
                "See `onnxattr inspect`."
            )
        check_outside(graph, values[name], "wrt")
        if values[name].dtype not in FLOATS:
            raise ModelError(
                f"wrt {name!r} is {values[name].dtype}; only float values can be explained: "
                f"{explainable(graph, output)[:8]}."
            )
        unfit = _why_unfit(values[name], output)
        if unfit:
            raise ModelError(
                f"wrt {name!r} is {unfit}; expected a float value that depends on the inputs, one row each."
            )
        if values[name] not in reaching_output:
            raise ModelError(f"The explained output {output.name!r} does not depend on wrt {name!r}.")
    return names


def _why_unfit(value: ir.Value, output: ir.Value) -> str | None:
    if value is output:
        return "the explained output itself"
    if value.const_value is not None:
        return "a weight"
    return "a scalar, without a batch axis" if dims_of(value) == [] else None


def batch_size_of(value: ir.Value) -> int | None:
    """The fixed number of rows a value has, or None if it is dynamic.

    Raises:
        ModelError: If the value has no batch axis at all.
    """
    dims = dims_of(value)
    if not dims:
        raise ModelError(
            f"{value.name!r} has no batch axis (shape {dims}); rows along the first axis are explained."
        )
    return dims[0] if isinstance(dims[0], int) else None
