"""Parts of a model that change in steps: those that its converter names, or that are found in its graph.

The metadata entry ``onnxattr.steps`` is a JSON object: by the name of each part, what to use instead.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping

import onnx_ir as ir

from onnxattr.loading.meaning.entries import read_entry
from onnxattr.loading.steps_of_graphs import steps_of

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


def parts_in_steps(
    model: ir.Model, outputs: Iterable[ir.Value], explained: Collection[ir.Value]
) -> dict[str, str]:
    """By the name of each part of a model that changes in steps, what to do instead, or where it is added.

    Args:
        model: As rules take it.
        outputs: The scores, or what they are computed from.
        explained: The values whose gradients are taken.

    Raises:
        ModelError: If the metadata entry is damaged.
    """
    return read_stepped(model.metadata_props) or steps_of(
        model.graph, outputs, explained, model.opset_imports[""]
    )
