"""What a model's inputs and outputs mean, as far as its file says: kinds, units, vocabulary, logits or probabilities.

The metadata entry ``onnxattr.meaning`` is a JSON object, ``{"inputs": {name: {...}}, "outputs": {name: {...}}}`` with
the fields of ``InputMeaning`` and ``OutputMeaning``; fields that are not known are left out. Names of classes are in
``onnxattr.labels``, names of columns in ``onnxattr.features``, words in ``onnxattr.vocabulary``, see ``class_names``,
``features`` and ``vocabularies``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from onnxattr.loading.meaning.entries import read_entry

KEY = "onnxattr.meaning"
INPUT_KINDS = ("image", "table", "tokens", "series", "audio")
OUTPUT_KINDS = ("logits", "probabilities", "log-probabilities", "value", "distance", "embedding")
_T = TypeVar("_T", bound="InputMeaning | OutputMeaning")


@dataclass(frozen=True)
class InputMeaning:
    """What an input takes; every field may be unknown.

    Attributes:
        kind: One of ``INPUT_KINDS``.
        unit: The unit of its numbers, such as "mV".
        vocabulary: Name of the file that the words were read from; they are in ``onnxattr.vocabulary``, see
            ``vocabularies``.
        sampling_rate: Samples of audio or of a series for each second.
        normalized_by: Layers of the model that normalise it, such as "Rescaling": pixels go in as they are.
        categories: For a column of text, its known values.
    """

    kind: str | None = None
    unit: str | None = None
    vocabulary: str | None = None
    sampling_rate: float | None = None
    normalized_by: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class OutputMeaning:
    """What an output gives; every field may be unknown.

    Attributes:
        kind: One of ``OUTPUT_KINDS``.
        unit: The unit of its numbers, such as "EUR".
    """

    kind: str | None = None
    unit: str | None = None


@dataclass(frozen=True)
class Meaning:
    """What is known of inputs and outputs, by their names."""

    inputs: Mapping[str, InputMeaning] = field(default_factory=dict)
    outputs: Mapping[str, OutputMeaning] = field(default_factory=dict)

    def text(self) -> str:
        """The metadata entry."""
        inputs = {name: _known(meaning) for name, meaning in self.inputs.items()}
        outputs = {name: _known(meaning) for name, meaning in self.outputs.items()}
        return json.dumps({"inputs": inputs, "outputs": outputs})


def read_meaning(metadata: Mapping[str, str]) -> Meaning:
    """What a model's metadata say of its inputs and outputs; nothing without the entry.

    Raises:
        ModelError: If the entry is damaged.
    """
    return read_entry(metadata, KEY, _read_all, Meaning())


def _read_all(found: Any) -> Meaning:
    return Meaning(
        {str(n): _read(InputMeaning, m) for n, m in found.get("inputs", {}).items()},
        {str(n): _read(OutputMeaning, m) for n, m in found.get("outputs", {}).items()},
    )


def note_output(metadata: MutableMapping[str, str], name: str, kind: str) -> None:
    """Notes what an output gives in a model's metadata, unless they say it already."""
    known = read_meaning(metadata)
    if name not in known.outputs:
        metadata[KEY] = Meaning(known.inputs, {**known.outputs, name: OutputMeaning(kind)}).text()


def _known(meaning: InputMeaning | OutputMeaning) -> dict[str, Any]:
    return {name: value for name, value in asdict(meaning).items() if value not in (None, ())}


def _read(kind: type[_T], entry: Mapping[str, Any]) -> _T:
    """The known fields of an entry, which a later version may have more of."""
    given = {f.name: entry[f.name] for f in fields(kind) if f.name in entry}
    for name, value in given.items():
        several = name in ("normalized_by", "categories")
        expected: Any = list if several else (int, float) if name == "sampling_rate" else str
        if not isinstance(value, expected):
            raise TypeError(f"{name} is {value!r}")
        if several:
            given[name] = tuple(map(str, value))
    return kind(**given)
