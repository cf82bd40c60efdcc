"""Keras models that begin with tables of words: what stands behind them is converted, and the words are kept.

``TextVectorization``, ``StringLookup`` and ``IntegerLookup`` look words up in tables of TensorFlow, which ONNX does not
have. The file takes what such a layer gives, and holds its vocabulary.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError

from ..common import dependencies

_LOOKUPS = ("TextVectorization", "StringLookup", "IntegerLookup")
#: Modes of these layers that give a column for each word, not its number.
_COLUMNS = ("multi_hot", "one_hot", "count", "tf_idf")
_PADDING = "[PAD]"


@dataclass(frozen=True)
class Words:
    """The layers that were left out.

    Attributes:
        layers: By the name of the new input the layer that gives it.
        vocabularies: By that name the words of its ids.
        columns: By that name the words that its columns are of.
        inputs: By the name of the model's own input the layer that reads it.
    """

    layers: dict[str, Any] = field(default_factory=dict)
    vocabularies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)

    def sample(self, given: Any) -> Any:
        """A sample for the whole model as one for the rest of it.

        Raises:
            ConversionError: If it is no array or dict of them for a model with several inputs.
        """
        if given is None or not self.layers:
            return given
        if isinstance(given, dict):
            return {
                self.inputs[name].name if name in self.inputs else name: self._looked_up(
                    self.inputs.get(name), part
                )
                for name, part in given.items()
            }
        if len(self.inputs) == 1 and not isinstance(given, (list, tuple)):
            return self._looked_up(next(iter(self.inputs.values())), given)
        raise ConversionError(f"sample: give a dict of arrays by input, {sorted(self.inputs)} among them.")

    @staticmethod
    def _looked_up(layer: Any, given: Any) -> Any:
        array = np.asarray(given)
        if layer is None or (array.dtype.kind in "iuf" and type(layer).__name__ != "IntegerLookup"):
            return given
        words = array.astype(str) if array.dtype.kind in "OUST" else array
        return np.asarray(layer(dependencies.tensorflow().constant(words)))


def without_lookups(model: Any) -> tuple[Any, Words]:
    """The model behind the tables of words that read its inputs, which shares all weights, and what they were.

    Warns of each table that is left out.
    """
    found = Words()
    package = next((p for p in dependencies.keras_packages() if isinstance(model, p.Model)), None)
    tables = [layer for layer in getattr(model, "layers", ()) if type(layer).__name__ in _LOOKUPS]
    if package is None or not tables or not getattr(model, "inputs", None):
        return model, found
    first = model.layers[0] if isinstance(model, package.Sequential) and model.layers else None
    if first is not None and type(first).__name__ in _LOOKUPS:
        _note(found, first, model.inputs[0].name)
        _warn(found)
        shape, dtype = tuple(first.compute_output_shape(model.inputs[0].shape)), _dtype(first)
        tensor = package.Input(batch_shape=shape, dtype=dtype, name=first.name)
        return package.Sequential([tensor, *model.layers[1:]], name=model.name), found
    inputs: dict[str, Any] = {}
    for tensor in model.inputs if first is None else ():
        layer = _reader(model, tensor)
        if layer is None:
            inputs[_plain(tensor.name)] = tensor
        else:
            inputs[layer.name] = layer.output
            _note(found, layer, _plain(tensor.name))
    if not found.layers:
        return model, found
    _warn(found)
    return package.Model(inputs, model.outputs, name=model.name), found


def _reader(model: Any, tensor: Any) -> Any:
    """The only layer that reads an input, if it is a table of words."""
    flatten = dependencies.tensorflow().nest.flatten
    nodes = {layer: getattr(layer, "_inbound_nodes", ()) for layer in model.layers}
    readers = [
        layer
        for layer, inbound in nodes.items()
        if any(tensor is other for node in inbound for other in flatten(getattr(node, "input_tensors", ())))
        and type(layer).__name__ != "InputLayer"
    ]
    return readers[0] if len(readers) == 1 and type(readers[0]).__name__ in _LOOKUPS else None


def _plain(name: str) -> str:
    return name.split(":")[0]


def _mode(layer: Any) -> str:
    return str(layer.get_config()["output_mode"]).replace("-", "_")


def _dtype(layer: Any) -> str:
    return "float32" if _mode(layer) in _COLUMNS else "int64"


def _note(found: Words, layer: Any, name: str) -> None:
    mode, words = _mode(layer), [_shown(word) for word in layer.get_vocabulary()]
    found.layers[layer.name] = found.inputs[name] = layer
    if mode == "int":
        found.vocabularies[layer.name] = tuple(words)
    elif mode in _COLUMNS:
        found.columns[layer.name] = tuple(words)


def _shown(word: Any) -> str:
    """A word as text; an empty one, which pads texts, gets a name."""
    text = word.decode() if isinstance(word, bytes) else str(word)
    return text or _PADDING


def _warn(found: Words) -> None:
    for name, layer in found.layers.items():
        warnings.warn(
            f"{type(layer).__name__} {name!r} is a table of words, which ONNX does not have: the file takes what that "
            f"layer gives, as the input {name!r}, and holds its {layer.vocabulary_size()} words. In Python: "
            f"model.get_layer({name!r})(texts).",
            stacklevel=4,
        )
