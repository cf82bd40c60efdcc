"""Names of the classes that a model tells apart, which a file may hold, and targets given by such names."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxattr.errors import TargetError
from onnxattr.loading.meaning.text_files import read_json

#: The metadata entry that converters write: a JSON list, one name for each class.
KEY = "onnxattr.labels"
#: What other programs write: a JSON list, or an object (or Python dict) of names by index, as Ultralytics' ``names``.
OTHER_KEYS = ("names", "labels", "classes", "class_names", "id2label")
_LONGEST = 2**20
_LISTED = 5


def read_class_names(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The names of a model's classes in their order; none if the metadata have none that can be read."""
    for key in (KEY, *OTHER_KEYS):
        text = metadata.get(key, "")
        names = _names(_literal(text)) if 0 < len(text) <= _LONGEST else None
        if names:
            return names
    return ()


def class_names_text(names: Sequence[Any]) -> str:
    """The metadata entry for the names of classes."""
    return json.dumps([str(name) for name in names])


def with_labels(given: Any, names: Sequence[str], classes: Any, rows: int) -> Any:
    """Targets whose names are replaced by labels, and one label for all rows by one for each; others as they are.

    Args:
        given: What the caller gave.
        names: The names of the classes; empty where there are none.
        classes: How many classes the output has; anything but a number if that is not known.
        rows: The number of rows.

    Raises:
        TargetError: If a name is unknown or not the only one.
    """
    texts = texts_of(given)
    if texts is None:
        return given
    if isinstance(classes, int) and names and len(names) != classes:
        raise TargetError(
            f"targets={given!r:.80}: the file names {len(names)} classes, and the explained output has {classes}; give "
            "labels from 0 on."
        )
    labels = np.array([label_of(text, names) for text in texts], np.int64)
    return labels[0] if isinstance(given, str) else labels


def one_label(given: Any) -> int | None:
    """The label, if targets are one for all rows: an integer, or an array without axes that holds one."""
    if isinstance(given, (bool, np.bool_, str)) or given is None:
        return None
    if isinstance(given, (int, np.integer)):
        return int(given)
    if getattr(given, "shape", None) != () and getattr(given, "ndim", None) != 0:
        return None
    array = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    return int(array) if array.dtype.kind in "iu" and array.ndim == 0 else None


def texts_of(given: Any) -> list[str] | None:
    """Names, if targets are some."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, np.ndarray) or hasattr(given, "to_numpy"):
        array = given if isinstance(given, np.ndarray) else given.to_numpy()
        given = array.tolist() if array.ndim == 1 and array.dtype.kind in "OUST" else None
    if isinstance(given, (list, tuple)) and given and all(isinstance(name, str) for name in given):
        return list(given)
    return None


def label_of(text: str, names: Sequence[str]) -> int:
    """The class of a name: as it is written, or else the only one of that name in other letters or as a synonym.

    Raises:
        TargetError: If there is none, or there are several.
    """
    if not names:
        raise TargetError(
            f"targets={text!r}: the model holds no names of classes; give labels from 0 on, or store the names as a "
            f"JSON list under the metadata key {KEY!r}."
        )
    found = [index for index, name in enumerate(names) if name == text]
    if not found:
        wanted = text.strip().lower()
        parts = [[part.strip().lower() for part in (name, *name.split(","))] for name in names]
        found = [k for k, known in enumerate(parts) if wanted in known]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{k} ({names[k]!r})" for k in found[:_LISTED])
        raise TargetError(f"targets={text!r} names several classes, {listed}: give the label.")
    near = difflib.get_close_matches(text.lower(), [name.lower() for name in names], _LISTED, 0.5)
    like = [name for name in names if name.lower() in near or text.lower() in name.lower()][:_LISTED]
    some = f"{'Near it' if like else 'The first'}: {', '.join(map(repr, like or names[:_LISTED]))}"
    raise TargetError(f"targets={text!r} is none of the model's {len(names)} classes. {some}.")


def _literal(text: str) -> Any:
    """A JSON or Python literal; None for other texts."""
    try:
        return read_json(text)
    except (ValueError, RecursionError):
        pass
    try:
        found, written = ast.literal_eval(text), ast.parse(text.strip(), mode="eval").body
        # Of an index that is there twice, the last name would be kept.
        return None if isinstance(written, ast.Dict) and len(written.keys) > len(found) else found
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _names(found: Any) -> tuple[str, ...] | None:
    """A list of names, or names by their index from 0 on."""
    if isinstance(found, dict):
        try:
            indexed = {int(index): name for index, name in found.items()}
        except (TypeError, ValueError):
            return None
        if sorted(indexed) != list(range(len(found))):
            return None
        found = [indexed[k] for k in range(len(indexed))]
    if not isinstance(found, list) or not found or not all(isinstance(name, (str, int)) for name in found):
        return None
    return tuple(str(name) for name in found)
