"""The layers of a model that have weights, and the model with some of them drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ModelError, ParameterError
from onnxattr.graph.subgraphs import captures_of
from onnxattr.graph.values import LAYOUTS
from onnxattr.loading.layers import sources_of_views
from onnxattr.loading.prepared import Prepared

#: (name, weights, generator) -> weights of the same shape.
Draw = Callable[[str, np.ndarray, np.random.Generator], np.ndarray]
DRAWS: dict[str, Draw] = {
    "shuffle": lambda _, weights, generator: generator.permutation(weights.ravel()).reshape(weights.shape),
    "normal": lambda _, weights, generator: generator.normal(weights.mean(), weights.std(), weights.shape),
    "uniform": lambda _, weights, generator: generator.random(weights.shape),
}

_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
#: Quantised weights; other integers are shapes, axes and indices.
_QUANTISED = (ir.DataType.INT8, ir.DataType.UINT8)
#: Operators whose constants say how they work, not what was learnt.
_SETTINGS = frozenset("Clip Resize Pad Upsample Slice Where Range Expand Tile".split())
#: What adds a bias or a scale to the result of the node before it.
_JOINING = frozenset("Add Sub Mul Div".split())
_PRODUCTS = frozenset("MatMul Gemm Conv ConvTranspose Einsum ConvInteger MatMulInteger".split())
#: How many nodes a layer has behind one with weights, at most.
_LONGEST_LAYER = 24
_VIEWS = LAYOUTS | {"Cast"}


@dataclass
class WeightLayer:
    """A layer that has weights: its name, and the names of its initializers."""

    name: str
    weights: list[str]


def weight_layers(prepared: Prepared) -> list[WeightLayer]:
    """The layers that have weights, from the input to the output.

    A layer of the layer table that the converter has stored; else a node with weights, and what adds its bias. Weights
    that several layers share belong to the last of them.

    Raises:
        ModelError: If the model has no weights in initializers, as ensembles of trees have not.
    """
    graph = prepared.model.graph
    names = _names_of_layers(prepared)
    constants: dict[ir.Value, list[ir.Value]] = {v: [v] for v in graph.initializers.values()}
    groups: dict[ir.Node, list[ir.Value]] = {}
    for node in graph:
        read = [v for v in (*node.inputs, *captures_of(node)) if v is not None]
        if read and all(value in constants for value in read):
            found = list(dict.fromkeys(w for value in read for w in constants[value]))
            constants |= dict.fromkeys(node.outputs, found)
            continue
        weights = [w for value in read for w in constants.get(value, ()) if _is_weight(w)]
        if not weights or node.op_type in _SETTINGS:
            continue
        groups.setdefault(_product_before(node, constants, groups) or node, []).extend(weights)
    layers: dict[str, list[str]] = {}
    taken: set[str] = set()
    for node, weights in reversed(groups.items()):
        new = [str(w.name) for w in dict.fromkeys(weights) if w.name not in taken]
        if new:
            taken.update(new)
            layers.setdefault(_layer_of(node, names) or str(node.name), []).extend(new)
    if not layers:
        raise ModelError(
            "The model has no weights in initializers, so that none can be drawn anew; trees, for instance, have them "
            "in attributes."
        )
    return [WeightLayer(name, weights) for name, weights in reversed(layers.items())]


def with_weights_drawn(
    prepared: Prepared, layers: Iterable[WeightLayer], draw: str | Draw, seed: int
) -> Prepared:
    """The model with the weights of some layers drawn anew; each weight's draw depends on its name and the seed alone.

    Args:
        prepared: The model, which stays as it is.
        layers: Its layers.
        draw: "shuffle" the weight's own values, so that their scale stays; "normal" of its mean and standard deviation;
            "uniform" in [0, 1); or a function (name, weights, generator) that gives weights of the same shape.
        seed: Seed of the draws.

    Raises:
        ParameterError: If a function gives another shape, or numbers that are not finite.
    """
    model = prepared.clone()
    model.meta.update(prepared.model.meta)
    initializers = model.graph.initializers
    function = draw if callable(draw) else DRAWS[draw]
    for name in (name for layer in layers for name in layer.weights):
        tensor = initializers[name].const_value
        assert tensor is not None
        old = tensor.numpy()
        generator = np.random.default_rng([seed, 4, *name.encode()])
        new = np.asarray(function(name, old, generator))
        if new.shape != old.shape or not np.isfinite(new.astype(np.float64)).all():
            raise ParameterError(
                f"draw gave an array of shape {new.shape} for the weights {name!r}; expected finite numbers of shape "
                f"{old.shape}."
            )
        initializers[name].const_value = ir.tensor(new.astype(old.dtype), dtype=tensor.dtype, name=name)
    return replace(prepared, model=model)


def _is_weight(value: ir.Value) -> bool:
    tensor = value.const_value
    if tensor is None or tensor.size < 2:
        return False
    if tensor.dtype in _FLOATS:
        return bool(np.isfinite(tensor.numpy().astype(np.float32)).all())
    return tensor.dtype in _QUANTISED and len(tensor.shape) > 1


def _product_before(
    node: ir.Node, constants: dict[ir.Value, list[ir.Value]], groups: dict[ir.Node, list[ir.Value]]
) -> ir.Node | None:
    """The layer to whose result a node adds a bias."""
    if node.op_type not in _JOINING:
        return None
    before = [value.producer() for value in node.inputs if value is not None and value not in constants]
    producer = before[0] if len(before) == 1 else None
    while producer is not None and producer.op_type in _VIEWS and producer not in groups:
        source = producer.inputs[0]
        producer = None if source is None else source.producer()
    return producer if producer in groups and producer.op_type in _PRODUCTS else None


def _names_of_layers(prepared: Prepared) -> dict[str, str]:
    """The paths of the layers in the table by the names of the values that hold their outputs."""
    sources = sources_of_views(prepared.model.metadata_props)
    names: dict[str, str] = {}
    for layer in prepared.layers:
        for output in layer.outputs:
            while output in sources and output not in prepared.values:
                output = sources[output]
            names.setdefault(output, layer.path)
    return names


def _layer_of(node: ir.Node, names: dict[str, str]) -> str | None:
    """The path of the layer in the table that a node belongs to: the first whose output lies behind it."""
    front: list[ir.Node] = [node]
    for _ in range(_LONGEST_LAYER if names else 0):
        for value in (output for found in front for output in found.outputs):
            if value.name in names:
                return names[value.name]
        front = list(dict.fromkeys(user for found in front for o in found.outputs for user in o.consumers()))
    return None
