"""Metadata entries that hold JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from onnxattr.errors import ModelError

_T = TypeVar("_T")


def texts_by_name(entry: Any) -> dict[str, tuple[str, ...]]:
    """A JSON object of lists of texts.

    Raises:
        ValueError: If one holds anything else; what is no object or list raises errors of Python's.
    """
    found = {str(name): tuple(texts) for name, texts in entry.items()}
    if not all(isinstance(text, str) for texts in found.values() for text in texts):
        raise ValueError("names that are no text")
    return found


def read_entry(metadata: Mapping[str, str], key: str, read: Callable[[Any], _T], absent: _T) -> _T:
    """What a metadata entry says.

    Args:
        metadata: A model's.
        key: The entry's.
        read: Makes it of the JSON value; what it raises on a wrong one means that the entry is damaged.
        absent: What is given where there is no entry.

    Raises:
        ModelError: If the entry is damaged.
    """
    text = metadata.get(key)
    if not text:
        return absent
    try:
        return read(json.loads(text))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"The metadata entry {key!r} is damaged ({error!r}); convert the model again."
        ) from error
