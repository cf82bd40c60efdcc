"""Columns of a table that a model takes one by one, numbers and text, and the values that explain them.

The metadata entry ``onnxattr.columns`` is a JSON object: by the name of each column, in their order, the value of the
graph whose attributions, summed, are the column's. That is the input itself for numbers, and what an encoder gives for
text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from onnxattr.graph.values import dims_of
from onnxattr.loading.meaning.entries import read_entry

if TYPE_CHECKING:
    from onnxattr.loading.prepared import Prepared

KEY = "onnxattr.columns"


def read_columns(metadata: Mapping[str, str]) -> dict[str, str]:
    """By the name of each column the value that explains it; none without the metadata entry.

    Raises:
        ModelError: If the entry is damaged.
    """
    return read_entry(metadata, KEY, _read, {})


def _read(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError("names that are no text")
    if len(set(found.values())) < len(found):
        raise ValueError("a value twice")
    return found


def columns_text(values: Mapping[str, str]) -> str:
    """The metadata entry for the values that explain columns."""
    return json.dumps(dict(values))


def ranks_of_maps(prepared: Prepared) -> list[int]:
    """The rank of the map of each explained value of a model; that of a column is (N, 1), whatever explains it."""
    columns = read_columns(prepared.model.metadata_props)
    named = zip(prepared.asked, prepared.wrt, strict=True)
    return [2 if asked in columns else len(dims_of(prepared.value(name)) or []) for asked, name in named]
