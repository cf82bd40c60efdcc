"""The names of features that a converter stores in a model: for each input, those of its columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from onnxattr.errors import ModelError

KEY = "onnxattr.features"


def read_features(metadata: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The names of the columns of each input that has some; none without the metadata entry.

    Raises:
        ModelError: If the entry is damaged.
    """
    text = metadata.get(KEY)
    if not text:
        return {}
    try:
        found = {str(name): tuple(columns) for name, columns in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(repr(error)) from error
    if not all(isinstance(name, str) for columns in found.values() for name in columns):
        raise _damaged("names that are no text")
    return found


def features_text(names: Mapping[str, Sequence[str]]) -> str:
    """The metadata entry for the names of the columns of inputs."""
    return json.dumps({name: list(columns) for name, columns in names.items()})


def _damaged(why: str) -> ModelError:
    return ModelError(f"The metadata entry {KEY!r} is damaged ({why}); convert the model again.")
