"""The layer table of a converted model: which value of the graph is the output of which Keras layer.

Names are traced: while the model runs symbolically, each layer's output tensor is given a tap (an extra graph
output). After the conversion the tap is followed to the value it became, and taken away again.
"""

import itertools
from collections.abc import Iterable
from typing import Any

import onnx

from ...common import graph_edit
from ...common.graph_edit import GraphView
from ...common.layer_rows import CALL, check_kept, note_calls, outputs_of, path_of_call, row, write_rows
from ..tracing.inputs import ModelInputs
from ..tracing.relu_groups import ReluGroup, find_relu_groups
from ..tracing.trace import LayerCall, Trace, draws_behind, operation_owners
from .values import Resolved, name_values, relu_record, resolve

_CONVOLUTIONS = ("Conv2D", "Conv3D", "Conv2DBackpropInput", "Conv3DBackpropInputV2")


class KerasLayerTable:
    """Chooses the taps while a model is traced, and writes the table when it is converted.

    Args:
        model: The Keras model.
        inputs: Its inputs.
        keep_layers: Names or paths of layers to be tapped even where the tap blocks folding; "all" for every one.
    """

    def __init__(self, model: Any, inputs: ModelInputs, keep_layers: str | Iterable[str]) -> None:
        self._model = model
        self._inputs = inputs
        self._keep = {keep_layers} if isinstance(keep_layers, str) else set(keep_layers)
        self._keep_all = "all" in self._keep
        self._calls: list[LayerCall] = []
        self._groups: list[ReluGroup] = []
        self._folded: dict[str, str] = {}

    def choose_taps(self, calls: list[LayerCall], outputs: dict[str, Any]) -> dict[str, Any]:
        """Tensors whose values are wanted, by the name that the value should get.

        Args:
            calls: The layer calls of the trace, inner ones before outer ones.
            outputs: The output tensors of the model by name.

        Raises:
            ConversionError: `keep_layers` names a layer that the model does not have or does not call.
        """
        graph = next(iter(outputs.values())).graph
        here = {(call.path, id(call.layer)) for call in calls if _is_in(call, graph)}
        # tf_keras calls some layers once more in a graph of its own, to learn their shapes.
        own = [call for call in calls if _is_in(call, graph) or (call.path, id(call.layer)) not in here]
        self._calls = sorted(own, key=lambda call: (call.operations.start, call.depth))
        check_kept(self._keep, (name for call in self._calls for name in (call.layer.name, call.path)))
        self._groups = find_relu_groups(calls, graph)
        owner = operation_owners(calls, graph)
        wanted: list[tuple[str, Any]] = []
        for call in self._calls:
            for number, tensor in enumerate(call.outputs):
                swallower = None if self._is_kept(call) else _swallower(tensor, owner)
                if swallower is not None:
                    self._folded[tensor.name] = swallower
                else:
                    wanted.append((call.path if len(call.outputs) == 1 else f"{call.path}:{number}", tensor))
        for group in self._groups:
            path = group.call.path if group.call else group.output.op.name
            wanted += [(f"{path}/before_activation", group.input), (f"{path}/after_activation", group.output)]
        return self._without_repeats(wanted, graph, outputs)

    def _without_repeats(
        self, wanted: list[tuple[str, Any]], graph: Any, outputs: dict[str, Any]
    ) -> dict[str, Any]:
        taps: dict[str, Any] = {}
        known = {tensor.name for tensor in outputs.values()} | self._folded.keys()
        names = {*outputs, *self._inputs.names}
        drawn = draws_behind(tensor for _, tensor in wanted) - draws_behind(outputs.values())
        for name, tensor in wanted:
            usable = tensor.op.type != "Placeholder" and not tensor.dtype.is_complex
            usable &= not drawn or drawn.isdisjoint(draws_behind([tensor]))
            if tensor.graph is graph and usable and tensor.name not in known:
                known.add(tensor.name)
                free = next(
                    n for i in itertools.count(1) if (n := f"{name}_{i}" if i > 1 else name) not in names
                )
                names.add(free)
                taps[free] = tensor
        return taps

    def _is_kept(self, call: LayerCall) -> bool:
        return self._keep_all or call.layer.name in self._keep or call.path in self._keep

    def keeps_padding(self) -> bool:
        """Whether a padding layer is to be kept, which would else become pads of a convolution."""
        return any(self._is_kept(call) and _is_padding(call) for call in self._calls)

    def write(self, converted: onnx.ModelProto, traced: Trace) -> None:
        """Resolve the taps, remove them from the outputs, drop what only they needed, store the table.

        Args:
            converted: Changed in place.
            traced: The trace it was converted from.
        """
        graph = converted.graph
        taps = set(traced.taps.values())
        for index in reversed(range(len(graph.output))):
            if graph.output[index].name in taps:
                del graph.output[index]
        graph_edit.merge_copies(graph)
        resolved = name_values(graph, resolve(graph, traced), traced)
        entries = self._entries(resolved)
        graph_edit.remove_dead_nodes(graph, [name for entry in entries for name in outputs_of(entry)])
        view = GraphView(graph)
        for entry, groups in zip(entries, self._groups_of(entries), strict=True):
            records = [record for group in groups if (record := relu_record(group, resolved, view))]
            entry["relu"] = records[0] if len(records) == 1 else records or None
        write_rows(converted, "keras", entries)

    def _entries(self, resolved: dict[str, Resolved]) -> list[dict[str, Any]]:
        """One entry per called layer, per other layer of the model, and per ReLU outside every layer."""
        layers = list(getattr(self._model, "layers", []))
        index_of = {id(layer): index for index, layer in enumerate(layers)}
        calls_of: dict[tuple[str, int], list[LayerCall]] = {}
        for call in self._calls:
            calls_of.setdefault((call.path, id(call.layer)), []).append(call)
        called = {id(call.layer) for call in self._calls if call.depth == 1}
        entries = [
            self._uncalled_entry(index, layer)
            for index, layer in enumerate(layers)
            if id(layer) not in called
        ]
        called_entries = [
            (id(call.layer), self._called_entry(call, number, index_of.get(id(call.layer)), resolved))
            for calls in calls_of.values()
            for number, call in enumerate(calls, start=1)
        ]
        note_calls(called_entries)
        entries += [entry for _, entry in called_entries]
        order = {entry["path"]: entry["index"] for entry in entries if entry["index"] is not None}
        entries.sort(key=lambda entry: order.get(entry["path"].split("/")[0].split(CALL)[0], len(layers)))
        for group in self._groups:
            if group.call is None and group.output.name in resolved:
                name = group.output.op.name
                value = resolved[group.output.name].value
                entries.append(row(name, None, group.output.op.type, name, value))
        return entries

    def _uncalled_entry(self, index: int, layer: Any) -> dict[str, Any]:
        entry = row(layer.name, index, type(layer).__name__, layer.name)
        if layer.name in self._inputs.layer_names:
            entry["output"] = self._inputs.names[self._inputs.layer_names.index(layer.name)]
        else:
            entry["folded"] = "not called when the model predicts"
        return entry

    def _called_entry(
        self, call: LayerCall, number: int, index: int | None, resolved: dict[str, Resolved]
    ) -> dict[str, Any]:
        """The row of one of the calls of a layer."""
        values = [resolved[tensor.name].value for tensor in call.outputs if tensor.name in resolved]
        if call.depth > 1 or number > 1:
            index = None
        path = path_of_call(call.path, number)
        entry = row(call.layer.name, index, type(call.layer).__name__, path)
        if values and len(values) == len(call.outputs):
            entry["output"] = values[0] if len(values) == 1 else values
            return entry
        swallower = next((self._folded[t.name] for t in call.outputs if t.name in self._folded), None)
        if swallower is None and _is_padding(call):
            swallower = "the convolution after it"
        if swallower is not None:
            keeping = f"to_onnx(..., keep_layers=[{call.layer.name!r}]) keeps it"
            entry |= {"folded": f"folded into {swallower}; {keeping}", "can_be_kept": True}
        else:
            entry["folded"] = (
                "its output is no value of the converted graph: merged into others, or in a loop"
            )
        return entry

    def _groups_of(self, entries: list[dict[str, Any]]) -> list[list[ReluGroup]]:
        by_path: dict[str, list[ReluGroup]] = {}
        for group in self._groups:
            by_path.setdefault(group.call.path if group.call else group.output.op.name, []).append(group)
        return [by_path.get(entry["path"], []) for entry in entries]


def _is_in(call: LayerCall, graph: Any) -> bool:
    return any(tensor.graph is graph for tensor in call.outputs)


def _is_padding(call: LayerCall) -> bool:
    return type(call.layer).__name__ in ("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")


def _swallower(tensor: Any, owner: dict[str, str]) -> str | None:
    """What a convolution without bias gets folded into unless it is tapped: the batch normalisation after it."""
    if tensor.op.type not in _CONVOLUTIONS:
        return None
    consumers = tensor.consumers()
    if len(consumers) != 1 or consumers[0].type not in ("Mul", "FusedBatchNormV3"):
        return None
    others = [operand for operand in consumers[0].inputs if operand is not tensor]
    if not others or any(_depends_on_inputs(operand) for operand in others):
        return None
    layer = owner.get(consumers[0].name)
    return f"layer {layer!r}, which follows" if layer else f"the operation {consumers[0].name!r} after it"


def _depends_on_inputs(tensor: Any) -> bool:
    captured = {inner.name for inner in tensor.graph.internal_captures}
    pending, seen = [tensor], set()
    while pending:
        current = pending.pop()
        if current.name in seen or current.name in captured:
            continue
        seen.add(current.name)
        if current.op.type == "Placeholder":
            return True
        pending.extend(current.op.inputs)
    return False
