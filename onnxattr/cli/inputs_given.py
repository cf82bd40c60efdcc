"""The files that ``onnxattr explain`` is given: for a model's only input, or for each of several, ``INPUT=FILE``."""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnxattr.errors import ParameterError
from onnxattr.inputs.named import named_files
from onnxattr.inputs.samples import Samples, named_samples, read_samples
from onnxattr.loading.prepared import Prepared
from onnxattr.results import Explanation
from onnxattr.results.picture import kind_of
from onnxattr.results.sheets import sheet
from onnxattr.results.writing import PICTURES, suffix_of

#: The key of files that name no input.
ONLY = ""


def input_of(text: str) -> str:
    """The input that a text names before its file, INPUT=FILE; empty if it names none."""
    name, equals, path = text.partition("=")
    return name if equals and path and not os.path.exists(text) and os.sep not in name else ""


def inputs_given(texts: Sequence[str]) -> dict[str, list[str]]:
    """By the name of each input its files; by ``ONLY`` those that name none.

    Raises:
        ParameterError: If some name an input, and others do not.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name = input_of(text)
        found.setdefault(name or ONLY, []).append(text[len(name) + 1 :] if name else text)
    if len(found) > 1 and ONLY in found:
        raise ParameterError(
            f"{found[ONLY][0]}: name the input of each file, as of the others: INPUT={found[ONLY][0]}."
        )
    return found


def read_given(given: Mapping[str, Sequence[str]], prepared: Prepared) -> tuple[list[Samples], list[str]]:
    """The samples, and a line that tells how those of several inputs were matched, if they were."""
    if ONLY in given:
        return list(read_samples(given[ONLY], prepared)), []
    found = named_files(given, prepared)
    return named_samples(found), [found.told]


def drawn_names(options: argparse.Namespace, explained: Sequence[str]) -> list[str]:
    """The pictures of each explained value where files of several inputs are given: why.image.png and why.table.png."""
    asked = [path for path in (options.output, options.picture) if path is not None]
    wanted = [os.path.splitext(path) for path in asked if options.by_input and suffix_of(path) in PICTURES]
    if len(explained) == 1:
        return ["".join(parts) for parts in wanted]
    return [f"{start}.{name}{suffix}" for start, suffix in wanted for name in explained]


def draw_each(found: Sequence[Explanation], options: argparse.Namespace, title: str) -> list[str]:
    """Draws each explained value into a picture of its own; the files."""
    explained = list(found[0].attributions)
    names = drawn_names(options, explained)
    for path, name in zip(names, itertools.cycle(explained), strict=False):
        alone = [replace(each, attributions={name: each.attributions[name]}) for each in found]
        _draw(alone, options, path, f"{title}, {name}")
    return names


def _draw(found: Sequence[Explanation], options: argparse.Namespace, path: str, title: str) -> None:
    """Draws the sample that is asked for, else all photos, else the first sample."""
    (name,) = found[0].attributions
    number = options.row if options.sample is None else options.sample
    if number is None and (kind_of(found[0], name) == "photo" or found[0].one_sample):
        sheet(found, path, title)
        return
    left = number or 0
    for each in found:
        if left < each.sample_count:
            each.plot(left, title=title, path=path)
            return
        left -= each.sample_count
