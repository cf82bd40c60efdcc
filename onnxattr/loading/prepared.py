"""A loaded model, cut at the layer to be explained: what the rewriter and the methods work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import onnx
import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of, needed_nodes
from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.errors import ParameterError, one_door
from onnxattr.graph.requantised import keep_real, serialised
from onnxattr.graph.schemas import opset_of
from onnxattr.graph.subgraphs import drop_unused, prune
from onnxattr.graph.values import named_values
from onnxattr.loading.batch_first import put_batch_first
from onnxattr.loading.explained import find_explained, float_inputs
from onnxattr.loading.free_batch import free_batch
from onnxattr.loading.heads import NUMBER, gives_logits, told_of_counting, unit_of
from onnxattr.loading.layers import Layer, read_layers
from onnxattr.loading.load import DIGEST, FILES, FOLDER, clean_part, load
from onnxattr.loading.meaning.class_names import read_class_names
from onnxattr.loading.meaning.columns import read_columns
from onnxattr.loading.meaning.features import read_features
from onnxattr.loading.meaning.inputs_outputs import Meaning, note_output, read_meaning
from onnxattr.loading.meaning.score_columns import told_of_columns
from onnxattr.loading.meaning.stated import Stated
from onnxattr.loading.meaning.vocabularies import read_vocabularies
from onnxattr.loading.neurons import neuron_of
from onnxattr.loading.places import check_ranks, copy_of, find_output, find_outputs
from onnxattr.loading.precision import set_precision
from onnxattr.loading.preprocessing.front import expected, explained_image, fitted, put_in_front
from onnxattr.loading.preprocessing.spec import Preprocessing, read_preprocessing
from onnxattr.loading.reading.source import ModelSource, name_of
from onnxattr.loading.rows.independence import OPEN, Rows, independence
from onnxattr.loading.verify import ORIGINAL, check_choice, verify_model


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
        others: Names of further outputs that an operator computes with.
        columns: What labels mean on the output, where its columns are not the model's classes; else empty.
        fitting: Shapes of samples that were found long enough, see ``running.given.lengths``.
        asked: What results call the explained values: as the caller named them; their own names unless given.
    """

    model: ir.Model
    layers: list[Layer]
    output: str
    wrt: tuple[str, ...]
    unit: str | None = None
    rows: Rows = OPEN
    asked: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    columns: str = ""
    fitting: set[tuple[tuple[int, ...], ...]] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Calls the explained values by their own names unless others are given."""
        self.asked = self.asked or self.wrt

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs that the score is computed from, the explained one first."""
        return (self.output, *self.others)

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
        files: tuple[Path, ...] = self.model.meta.get(FILES, ())
        return files

    @property
    def digest(self) -> str:
        """The SHA-256 of the model's file."""
        return str(self.model.meta.get(DIGEST, ""))

    @property
    def features(self) -> dict[str, tuple[str, ...]]:
        """The names of the columns of each input that has some."""
        return read_features(self.model.metadata_props)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, as far as the model holds them."""
        return read_class_names(self.model.metadata_props)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What happens to images before the network, in the model or as it expects; None if the file does not say."""
        return read_preprocessing(self.model.metadata_props)

    @property
    def meaning(self) -> Meaning:
        """What the inputs and outputs mean, as far as the model's file says."""
        return read_meaning(self.model.metadata_props)

    @property
    def vocabularies(self) -> dict[str, tuple[str, ...]]:
        """The words of the ids of each input that has some."""
        return read_vocabularies(self.model.metadata_props)

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
        """A copy to build on; weights are shared, and where they lie."""
        copy = self.model.clone()
        copy.meta.update(self.model.meta)
        return copy

    def proto(self) -> onnx.ModelProto:
        """The cut model itself, as ONNX."""
        return serialised(self.model)

    def part(self, names: Sequence[str]) -> onnx.ModelProto:
        """The part of the model that computes some values, which are its outputs."""
        # An explainer's other nodes read what is no input of the model that it explains, so that it has no clone.
        values = self.values
        needed = needed_nodes(values[name] for name in names)
        made = {value.name for node in needed for value in node.outputs}
        read = dict.fromkeys(value for node in needed for value in inputs_of(node))
        sources = [v for v in read if v.producer() is None and v.const_value is None]
        proto = ir.serde.serialize_model(self.model)
        nodes = [node for node in proto.graph.node if not made.isdisjoint(node.output)]
        del proto.graph.node[:], proto.graph.input[:], proto.graph.output[:]
        proto.graph.node.extend(nodes)
        weights = {value.name for value in read} | set(names)
        kept = [tensor for tensor in proto.graph.initializer if tensor.name in weights]
        del proto.graph.initializer[:]
        proto.graph.initializer.extend(kept)
        proto.graph.input.extend(map(ir.serde.serialize_value, sources))
        proto.graph.output.extend(ir.serde.serialize_value(values[name]) for name in names)
        keep_real(proto)
        return proto


#: A value to explain: the name of a layer, value or node, or the index of a layer.
Named = str | int
#: What is explained: names; a function that finds them in the model, such as ``landmarks.last_convolution``; None.
Wrt = Named | Sequence[Named] | Callable[[Prepared], Named | Sequence[Named]] | None


#: Which of a model's outputs are explained: the only one, a name or an index, several, or all.
Outputs = Named | Sequence[Named] | None


def prepare(
    source: ModelSource,
    output_layer: str | int | None = None,
    wrt: Wrt = None,
    precision: str = "model",
    operator: str | None = None,
    verify: bool | str = "auto",
    outputs: Outputs = None,
    neuron: int | Sequence[int] | None = None,
    rules: RuleTable = STANDARD,
    preprocess: Preprocessing | str | None = None,
    attributions_at: str | None = None,
    stated: Stated | None = None,
) -> Prepared:
    """Loads a model and cuts it at the output to be explained.

    Args:
        source: A path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or Keras model.
        output_layer: A layer name or index of the layer table, or the name of any value or node. None for the
            model's own output.
        wrt: What to explain, in the words that output_layer takes, or several of them, or a function of the model,
            whole but for its outputs, that finds them. None for every float input.
        precision: "model", or "float32" to compute what is of half precision in float32.
        operator: "classification", "regression" or None: what an output of one unit is, where the graph does not tell.
        verify: Whether the prediction of the prepared model is compared with that of the model itself, in ONNX Runtime
            on drawn inputs: "auto" for small models that preparing changed, True for all that run, False for none.
        outputs: Which of the model's outputs are explained, where there are several: a name or an index; several, or
            ``ALL_OUTPUTS`` for all of floats, for an operator that computes with them.
        neuron: The unit or channel of the output that is explained in its place, see ``neurons.neuron_of``.
        rules: The rule table that the model is going to be differentiated with, see ``load``.
        preprocess: What is put in front of the model's image input; "model" for what its file says that it expects.
        attributions_at: "pixels" or "input": whether pixels are explained, or the model's own input, unless ``wrt``
            says so; None for what ``preprocess``, or the model's file, says.
        stated: What the caller says of inputs and outputs, ``read``; None for what the model's file says alone.

    Raises:
        ModelError: If the model is invalid, the output is ambiguous or unknown, nothing float can be explained, or
            preparing the model changed its prediction.
        ParameterError: If a parameter is outside its domain.
    """
    check_choice(verify)
    model = load(source, rules)
    with one_door(f"{name_of(source)} cannot be prepared"):
        if stated:
            stated.store(model, model)
        if preprocess is not None:
            verify_model(model, verify)
            spec = expected(model) if isinstance(preprocess, str) else preprocess
            put_in_front(model, fitted(spec, model))
        image = explained_image(model, wrt, attributions_at)
        wrt = image if wrt is None else wrt
        columns = read_columns(model.metadata_props) if wrt is None and neuron is None else {}
        wrt = tuple(columns.values()) or wrt
        prepared = _cut(model, output_layer, wrt, precision, operator, outputs, neuron, rules)
        if ORIGINAL in model.meta:
            prepared.columns += told_of_columns(model.meta[ORIGINAL], prepared.output)
        if columns:
            prepared.asked = tuple(columns)
        verify_model(model, verify)
        return prepared


def _cut(
    model: ir.Model,
    output_layer: str | int | None,
    wrt: Wrt,
    precision: str,
    operator: str | None,
    outputs: Outputs,
    neuron: int | Sequence[int] | None,
    rules: RuleTable,
) -> Prepared:
    set_precision(model, precision)
    graph, opset = model.graph, opset_of(model)
    layers = read_layers(model.metadata_props)
    found = [find_output(graph, layers, output_layer)] if outputs is None else find_outputs(graph, outputs)
    explained = [copy_of(graph, value) if value in graph.inputs else value for value in found]
    output = explained[0]
    told = told_of_counting(graph, layers, output_layer, found[0]) if neuron is None else ""
    unit = unit_of(graph, output, layers, operator)
    if gives_logits(graph, output):
        note_output(model.metadata_props, str(output.name), "logits")
    if neuron is not None:
        if len(explained) > 1:
            raise ParameterError(
                f"neuron={neuron!r} is one of a layer's or an output's; name one of the outputs."
            )
        explained = [output := neuron_of(graph, opset, output, neuron)]
        unit = NUMBER
    if callable(wrt):
        wrt = wrt(Prepared(model, layers, str(output.name), ()))
    if wrt is None:
        places = float_inputs(graph, explained, rules)
    else:
        wanted = wrt if isinstance(wrt, Sequence) and not isinstance(wrt, str) else [wrt]
        places = find_explained(graph, opset, layers, explained, wanted, rules)
    others = tuple(str(value.name) for value in explained[1:])
    names = tuple(str(place.value.name) for place in places)
    asked = tuple(place.name for place in places)
    rows = _reduced(model, explained, names, rules)
    check_ranks(graph, [*explained, *map(named_values(graph).__getitem__, names)])
    return Prepared(model, layers, str(output.name), names, unit, rows, asked, others, told)


def _reduced(model: ir.Model, explained: Sequence[ir.Value], wrt: Sequence[str], rules: RuleTable) -> Rows:
    """Makes some values the outputs, removes what they do not need, and frees the batch; how rows are then computed."""
    graph, opset = model.graph, opset_of(model)
    graph.outputs[:] = explained
    prune(graph)
    drop_unused(model)
    free_batch(graph, opset)
    values = named_values(graph)
    put_batch_first(graph, opset, [values[name] for name in wrt])
    values, spec = named_values(graph), read_preprocessing(model.metadata_props)
    # Maps may be of what preprocessing gives, the network's own input.
    image = [spec.feeds] if spec is not None and spec.in_graph and spec.feeds in values else []
    clean_part(model, [values[name] for name in (*wrt, *image)], rules)
    return independence(graph, opset, [*explained, *(values[name] for name in wrt)])
