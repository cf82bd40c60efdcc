"""What a caller says of a model's inputs and outputs, checked and written into its metadata."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from onnxattr.errors import ParameterError
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of, shape_text
from onnxattr.loading.heads import probability_head
from onnxattr.loading.landmarks import tables_before
from onnxattr.loading.meaning.inputs_outputs import (
    KEY,
    OUTPUT_KINDS,
    InputMeaning,
    Meaning,
    OutputMeaning,
    read_meaning,
)
from onnxattr.loading.meaning.label_files import labels_of, store_labels
from onnxattr.loading.meaning.vocabularies import note_vocabulary, vocabulary_of

_LISTED = 6


@dataclass(frozen=True)
class Stated:
    """What is said of a model; None for nothing. All but ``labels`` may be dicts by the name of an input or output.

    Attributes:
        labels: The names of the classes, see ``labels_of``.
        units: The unit of the only input of floats, such as "mV"; in a dict those of outputs too.
        sampling_rate: Samples of a series or of audio for each second.
        vocabulary: The words of token ids, see ``vocabulary_of``.
        output_kind: What the output gives, one of ``OUTPUT_KINDS``.
    """

    labels: Any = None
    units: Any = None
    sampling_rate: Any = None
    vocabulary: Any = None
    output_kind: Any = None

    def __bool__(self) -> bool:
        return any(getattr(self, name) is not None for name in NAMES)

    @property
    def files(self) -> list[Any]:
        """The files that are to be read."""
        words = self.vocabulary.values() if isinstance(self.vocabulary, Mapping) else [self.vocabulary]
        return [given for given in (self.labels, *words) if isinstance(given, (str, os.PathLike))]

    def read(self) -> Stated:
        """The same with what its files hold, checked as far as that needs no model.

        Raises:
            ParameterError: If something is of another kind, or a file cannot be read.
        """
        labels = None if self.labels is None else labels_of(self.labels)
        vocabulary = self.vocabulary
        if _by_input(vocabulary):
            vocabulary = {name: _words(given) for name, given in vocabulary.items()}
        elif vocabulary is not None:
            vocabulary = _words(vocabulary)
        for name, check in (("units", _unit), ("sampling_rate", _rate), ("output_kind", _kind)):
            given = getattr(self, name)
            for one in given.values() if isinstance(given, Mapping) else [given] if given is not None else ():
                check(one)
        return replace(self, labels=labels, vocabulary=vocabulary)

    def store(self, model: ir.Model, typed: ir.Model) -> None:
        """Writes what was ``read`` into a model's metadata, in place.

        Args:
            model: The model.
            typed: The same with typed values and shapes.

        Raises:
            ParameterError: If something does not fit the model: names the input or output.
        """
        if self.labels is not None:
            store_labels(model, self.labels)
        graph, known = typed.graph, read_meaning(model.metadata_props)
        inputs, outputs = dict(known.inputs), dict(known.outputs)
        names = {str(v.name) for v in graph.inputs}, {str(v.name) for v in graph.outputs}
        for name, unit in _named(self.units, "units", lambda: _floats(graph, "units")).items():
            _check_name("units", name, names[0] | names[1])
            if name in names[0]:
                inputs[name] = replace(inputs.get(name, InputMeaning()), unit=unit)
            else:
                outputs[name] = replace(outputs.get(name, OutputMeaning()), unit=unit)
        for name, rate in _named(self.sampling_rate, "sampling_rate", lambda: _series(graph)).items():
            _check_name("sampling_rate", name, names[0])
            _check_series(graph, name)
            before = inputs.get(name, InputMeaning())
            inputs[name] = replace(before, sampling_rate=rate, kind=before.kind or "series")
        vocabulary = (
            self.vocabulary if isinstance(self.vocabulary, (dict, type(None))) else {"": self.vocabulary}
        )
        for asked, (words, file) in (vocabulary or {}).items():
            name = asked or _ids(graph)
            _check_name("vocabulary", name, names[0])
            _check_words(graph, name, words)
            inputs[name] = replace(inputs.get(name, InputMeaning()), kind="tokens", vocabulary=file)
            note_vocabulary(model.metadata_props, name, words)
        for name, kind in _named(self.output_kind, "output_kind", lambda: _output(graph)).items():
            _check_name("output_kind", name, names[1])
            _check_kind(graph, name, kind)
            outputs[name] = replace(outputs.get(name, OutputMeaning()), kind=kind)
        if (inputs, outputs) != (dict(known.inputs), dict(known.outputs)):
            model.metadata_props[KEY] = Meaning(inputs, outputs).text()


#: The names of what may be said.
NAMES = tuple(f.name for f in fields(Stated))


def _by_input(given: Any) -> bool:
    """Whether vocabularies are given by input; a dict of ids by word is one vocabulary."""
    return isinstance(given, Mapping) and bool(given) and not all(isinstance(v, int) for v in given.values())


def _words(given: Any) -> tuple[tuple[str, ...], str | None]:
    return vocabulary_of(given), Path(given).name if isinstance(given, (str, os.PathLike)) else None


def _unit(given: Any) -> None:
    if not isinstance(given, str) or not given.strip() or len(given) > 100:
        raise ParameterError(
            f"units={given!r:.80}: expected a unit such as 'mV', or a dict of them by input."
        )


def _rate(given: Any) -> None:
    number = isinstance(given, (int, float)) and not isinstance(given, bool)
    if not number or not math.isfinite(given) or given <= 0:
        raise ParameterError(
            f"sampling_rate={given!r:.80}: expected samples for each second, a number above 0, or a dict of them by "
            "input."
        )


def _kind(given: Any) -> None:
    if given not in OUTPUT_KINDS:
        raise ParameterError(
            f"output_kind={given!r:.80}: expected one of {', '.join(map(repr, OUTPUT_KINDS))}."
        )


def _named(given: Any, what: str, default: Callable[[], str]) -> Mapping[str, Any]:
    if given is None:
        return {}
    return given if isinstance(given, Mapping) else {default(): given}


def _check_name(what: str, name: str, names: Sequence[str] | set[str]) -> None:
    if name not in names:
        listed = ", ".join(map(repr, sorted(names)[:_LISTED]))
        raise ParameterError(f"{what}: the model has no {name!r} of that kind; it has {listed}.")


def _only(found: list[str], what: str, kind: str) -> str:
    if len(found) != 1:
        has = f"several {kind}, {', '.join(map(repr, found[:_LISTED]))}" if found else f"no {kind}"
        raise ParameterError(
            f"{what}: the model has {has}; say which is meant by its name, in a dict (NAME=...)."
        )
    return found[0]


def _floats(graph: ir.Graph, what: str) -> str:
    return _only([str(v.name) for v in graph.inputs if v.dtype in FLOATS], what, "inputs of floats")


def _output(graph: ir.Graph) -> str:
    return _only([str(v.name) for v in graph.outputs], "output_kind", "outputs")


def _is_series(value: ir.Value) -> bool:
    dims = dims_of(value)
    return value.dtype in FLOATS and (dims is None or len(dims) in (1, 2, 3))


def _series(graph: ir.Graph) -> str:
    found = [str(v.name) for v in graph.inputs if _is_series(v)]
    return _only(found, "sampling_rate", "inputs that are series, (N, T) or (N, T, C)")


def _check_series(graph: ir.Graph, name: str) -> None:
    value = next(v for v in graph.inputs if v.name == name)
    if not _is_series(value):
        raise ParameterError(
            f"sampling_rate: the input {name!r} of shape {shape_text(dims_of(value))} is no series of floats, "
            "(N, T) or (N, T, C)."
        )


def _ids(graph: ir.Graph) -> str:
    """The input of token ids: that of the table of words, or the only one of integers."""
    integers = [str(v.name) for v in graph.inputs if v.dtype is not None and v.dtype.is_integer()]
    words = list(
        dict.fromkeys(t.ids for o in graph.outputs for t in tables_before(graph, o) if t.words and t.ids)
    )
    return words[0] if len(words) == 1 else _only(integers, "vocabulary", "inputs of integers, token ids")


def _check_words(graph: ir.Graph, name: str, words: Sequence[str]) -> None:
    value = next(v for v in graph.inputs if v.name == name)
    tables = [table for output in graph.outputs for table in tables_before(graph, output)]
    rows = [table.rows for table in tables if table.ids == name]
    if not rows and (value.dtype is None or not value.dtype.is_integer()):
        raise ParameterError(f"vocabulary: the input {name!r} takes no ids of tokens.")
    if rows and len(words) > max(rows):
        raise ParameterError(
            f"vocabulary: {len(words)} words were given, and the table that the input {name!r} is looked up in has "
            f"{max(rows)} rows."
        )


def _check_kind(graph: ir.Graph, name: str, kind: str) -> None:
    value = next(v for v in graph.outputs if v.name == name)
    logits = probability_head(graph, value)
    if logits is not None and kind != "probabilities":
        raise ParameterError(
            f"output_kind={kind!r}: the output {name!r} is the softmax or sigmoid of {logits!r}, probabilities; cut "
            "the model there with output_layer= for logits."
        )
