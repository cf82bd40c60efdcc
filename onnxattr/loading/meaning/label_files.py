"""Names of classes that a caller gives: a list, or a file of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.errors import ParameterError
from onnxattr.graph.values import dims_of
from onnxattr.loading.meaning.class_names import KEY, class_names_text
from onnxattr.loading.meaning.text_files import read_texts

_LARGEST = 2**24
_EXPECTED = (
    "a list of names, a .txt file with one name on each line, or a .json file with a list of names or an object of "
    "names by index"
)


def labels_of(given: Any) -> tuple[str, ...]:
    """The names of classes, in order.

    Args:
        given: A list of names; a dict of names by index, or of indices by name; or the path of a ``.txt`` file, one
            name on each line, or of a ``.json`` file of a list or such a dict. Keras' ``imagenet_class_index.json``
            and the ``id2label`` of Hugging Face's ``config.json`` are such dicts.

    Raises:
        ParameterError: If there are none.
    """
    if isinstance(given, (str, os.PathLike)):
        return _listed(read_texts(given, "labels", _EXPECTED, _LARGEST, _lines), str(given))
    return _listed(given, "labels")


def _lines(text: str) -> list[str]:
    return text.rstrip().splitlines()


def _listed(found: Any, what: str) -> tuple[str, ...]:
    if isinstance(found, Mapping):
        found = _by_index(found.get("id2label", found), what)
    if hasattr(found, "tolist"):
        found = found.tolist()
    if not isinstance(found, Sequence) or isinstance(found, (str, bytes)) or not found:
        raise ParameterError(f"{what} holds no names of classes; expected {_EXPECTED}.")
    # Keras lists the WordNet id before each name.
    names = [name[-1] if isinstance(name, (list, tuple)) and name else name for name in found]
    wrong = [name for name in names if not isinstance(name, (str, int)) or isinstance(name, bool)]
    empty = [place for place, name in enumerate(names) if not str(name).strip()]
    if wrong or empty:
        why = f"{wrong[0]!r}, which is no name" if wrong else f"an empty name for class {empty[0]}"
        raise ParameterError(f"{what} holds {why}; expected {_EXPECTED}.")
    return tuple(str(name).strip() for name in names)


def _by_index(found: Any, what: str) -> list[Any]:
    if not isinstance(found, Mapping):
        raise ParameterError(f"{what} holds no names of classes; expected {_EXPECTED}.")
    pairs = list(found.items())
    if all(isinstance(value, int) and not isinstance(value, bool) for value in found.values()):
        pairs = [(index, name) for name, index in pairs]
    try:
        indexed = {int(index): name for index, name in pairs}
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"{what} has keys such as {next(iter(found), None)!r}; expected names by index, from 0 on."
        ) from error
    if len(indexed) < len(pairs):
        twice = next(index for index in indexed if sum(int(each) == index for each, _ in pairs) > 1)
        raise ParameterError(f"{what} has several names for the index {twice}; expected one for each.")
    if sorted(indexed) != list(range(len(indexed))):
        raise ParameterError(
            f"{what} has names for the indices {sorted(indexed)[:3]}, ...; expected 0 to {len(indexed) - 1}."
        )
    return [indexed[index] for index in range(len(indexed))]


def store_labels(model: ir.Model, labels: Sequence[str]) -> None:
    """Writes names of classes into a model's metadata, in place.

    Raises:
        ParameterError: If the model's only output has another number of classes.
    """
    outputs = list(model.graph.outputs)
    dims = dims_of(outputs[0]) if len(outputs) == 1 else None
    classes = dims[-1] if dims is not None and len(dims) == 2 else None
    if isinstance(classes, int) and classes != len(labels) and (classes, len(labels)) != (1, 2):
        raise ParameterError(
            f"labels: {len(labels)} names were given, and the output {outputs[0].name!r} has {classes} classes."
        )
    model.metadata_props[KEY] = class_names_text(labels)
