"""Keras models that begin with tables of words or with hashes: what stands behind them is converted.

``TextVectorization``, ``StringLookup`` and ``IntegerLookup`` look words up in tables of TensorFlow, ``Hashing`` and
``HashedCrossing`` compute a hash of text; ONNX has neither. The file takes what such a layer gives, and holds its
vocabulary.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError

from ...common import dependencies
from .word_layers import HASHES, Front, front_of, is_table

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
        names: The names of all inputs that the rest of the model has; none if nothing was left out.
        given: The names of the inputs of the whole model.
        front: A function of these that computes what the layers give, in the order of ``layers``.
    """

    layers: dict[str, Any] = field(default_factory=dict)
    vocabularies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    front: Any = None

    def sample(self, given: Any) -> Any:
        """A sample for the whole model as one for the rest of it.

        Raises:
            ConversionError: If it is no array or dict of them for a model with several inputs.
        """
        if given is None or not self.layers:
            return given
        if len(self.given) == 1 and not isinstance(given, (dict, list, tuple)):
            if self._is_looked_up(given):
                return given
            given = {self.given[0]: given}
        if not isinstance(given, dict) or not set(self.given) <= set(given):
            raise ConversionError(
                f"sample: give a dict of arrays by input, with each of {sorted(self.given)}."
            )
        found = _flat(self.front([_tensor(given[name]) for name in self.given]))
        parts = {name: np.asarray(part) for name, part in zip(self.layers, found, strict=True)} | {
            name: given[name] for name in self.names if name not in self.layers
        }
        return [parts[name] for name in self.names] if len(self.names) > 1 else parts[self.names[0]]

    def _is_looked_up(self, given: Any) -> bool:
        """Whether a sample is numbers where the layers read texts: what the layers give, then."""
        numbers = np.asarray(given).dtype.kind in "iuf"
        return numbers and all(
            type(layer).__name__ in ("TextVectorization", "StringLookup") for layer in self.layers.values()
        )


def _flat(structure: Any) -> list[Any]:
    return list(dependencies.tensorflow().nest.flatten(structure))


def _tensor(given: Any) -> Any:
    array = np.asarray(given)
    return dependencies.tensorflow().constant(array.astype(str) if array.dtype.kind in "OUST" else array)


def without_lookups(model: Any) -> tuple[Any, Words]:
    """The model behind the tables of words that read its inputs, which shares all weights, and what they were.

    Warns of each table that is left out.
    """
    package = next((p for p in dependencies.keras_packages() if isinstance(model, p.Model)), None)
    if (
        package is None
        or not any(map(is_table, getattr(model, "layers", ())))
        or not getattr(model, "inputs", None)
    ):
        return model, Words()
    front = front_of(model)
    if front is None:
        return model, Words()
    found = Words(
        layers=front.layers, names=tuple(front.names), given=tuple(front.given),
        front=package.Model(model.inputs, list(front.tensors)),
    )  # fmt: skip
    for name, layer in front.layers.items():
        _note(found, name, layer)
    _warn(found)
    return _rest(package, model, front), found


def _rest(package: Any, model: Any, front: Front) -> Any:
    """The model from what the tables give, with its other inputs nested as they were."""
    if isinstance(model, package.Sequential):
        (name, layer), tensor = next(iter(front.layers.items())), front.tensors[0]
        first = package.Input(batch_shape=tuple(tensor.shape), dtype=_dtype(layer, tensor), name=name)
        return package.Sequential([first, *model.layers[1:]], name=model.name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "When providing `inputs` as a dict")
        return package.Model(front.inputs, model.output, name=model.name)


def _mode(layer: Any) -> str:
    return str(layer.get_config()["output_mode"]).replace("-", "_")


def _dtype(layer: Any, tensor: Any) -> str:
    given = str(getattr(tensor.dtype, "name", tensor.dtype))
    return given if given.startswith("float") or _mode(layer) not in _COLUMNS else "float32"


def _note(found: Words, name: str, layer: Any) -> None:
    if type(layer).__name__ in HASHES:
        return
    mode, words = _mode(layer), [_shown(word) for word in layer.get_vocabulary()]
    if mode == "int":
        found.vocabularies[name] = tuple(words)
    elif mode in _COLUMNS:
        found.columns[name] = tuple(words)


def _shown(word: Any) -> str:
    """A word as text; an empty one, which pads texts, gets a name."""
    text = word.decode() if isinstance(word, bytes) else str(word)
    return text or _PADDING


def _warn(found: Words) -> None:
    for name, layer in found.layers.items():
        if type(layer).__name__ in HASHES:
            kind, held = "computes a hash of text", ""
            given = "(first, second)" if type(layer).__name__ == "HashedCrossing" else "values"
        else:
            kind, held = "is a table of words", f", and holds its {layer.vocabulary_size()} words"
            given = "values" if type(layer).__name__ == "IntegerLookup" else "texts"
        warnings.warn(
            f"{type(layer).__name__} {layer.name!r} {kind}, which ONNX does not have: the file takes what that "
            f"layer gives, as the input {name!r}{held}. In Python: model.get_layer({layer.name!r})({given}).",
            stacklevel=4,
        )
