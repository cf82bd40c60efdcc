"""The names of features that a converter stores in a model: for each input, those of its columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from onnxattr.loading.meaning.entries import read_entry, texts_by_name

KEY = "onnxattr.features"


def read_features(metadata: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The names of the columns of each input that has some; none without the metadata entry.

    Raises:
        ModelError: If the entry is damaged.
    """
    return read_entry(metadata, KEY, texts_by_name, {})


def features_text(names: Mapping[str, Sequence[str]]) -> str:
    """The metadata entry for the names of the columns of inputs."""
    return json.dumps({name: list(columns) for name, columns in names.items()})
