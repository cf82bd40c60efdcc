"""Parts of a model that change in steps: those that its converter knows of.

The metadata entry ``onnxattr.steps`` is a JSON object: by the name of each part, what to use instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from onnxattr.loading.meaning.entries import read_entry

KEY = "onnxattr.steps"


def read_stepped(metadata: Mapping[str, str]) -> dict[str, str]:
    """By the name of each part of a model that changes in steps, what to do instead; none without the metadata entry.

    Raises:
        ModelError: If the entry is damaged.
    """
    return read_entry(metadata, KEY, lambda found: {str(name): str(said) for name, said in found.items()}, {})


def stepped_text(parts: Mapping[str, str]) -> str:
    """The metadata entry for parts that change in steps."""
    return json.dumps(dict(parts))
