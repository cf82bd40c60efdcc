"""Columns of a table that a model takes one by one, numbers and text, and the values that explain them.

The metadata entry ``onnxattr.columns`` is a JSON object: by the name of each column, in their order, the value of the
graph whose attributions, summed, are the column's. That is the input itself for numbers, and what an encoder gives for
text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from onnxattr.errors import ModelError

KEY = "onnxattr.columns"


def read_columns(metadata: Mapping[str, str]) -> dict[str, str]:
    """By the name of each column the value that explains it; none without the metadata entry.

    Raises:
        ModelError: If the entry is damaged.
    """
    text = metadata.get(KEY)
    if not text:
        return {}
    try:
        found = json.loads(text)
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise ValueError("names that are no text")
        if len(set(found.values())) < len(found):
            raise ValueError("a value twice")
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"The metadata entry {KEY!r} is damaged ({error}); convert the model again."
        ) from error
    return found


def columns_text(values: Mapping[str, str]) -> str:
    """The metadata entry for the values that explain columns."""
    return json.dumps(dict(values))
