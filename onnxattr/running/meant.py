"""What a model's file says of the numbers in a result: words of ids, units, steps a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxattr.compile.explainer_file import describe
from onnxattr.loading.prepared import Prepared

#: Names of scores that have the unit of the output.
_LINEAR = (None, "classification", "regression")


def model_output(prepared: Prepared) -> str:
    """The explained output as the model calls it; an explainer has it under another name."""
    explainer = describe(prepared.model.metadata_props)
    return prepared.output if explainer is None else str(explainer.get("model_output"))


def said_of(
    prepared: Prepared,
    maps: Mapping[str, np.ndarray],
    axes: Mapping[str, Sequence[str]],
    inputs: Mapping[str, np.ndarray],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The fields ``tokens``, ``units``, ``sampling_rates`` and ``score_unit`` of an explanation.

    Args:
        prepared: The model.
        maps: The attributions by explained value.
        axes: What their axes are.
        inputs: The model's inputs.
        about: The method and its parameters.
    """
    meaning = prepared.meaning
    known = {name: meaning.inputs[name] for name in maps if name in meaning.inputs}
    output = meaning.outputs.get(model_output(prepared))
    linear = about["parameters"].get("operator") in _LINEAR
    return {
        "tokens": _tokens(prepared, maps, axes, inputs),
        "units": {name: one.unit for name, one in known.items() if one.unit},
        "sampling_rates": {name: one.sampling_rate for name, one in known.items() if one.sampling_rate},
        "score_unit": (output.unit if output is not None and linear else None) or "",
    }


def _tokens(
    prepared: Prepared,
    maps: Mapping[str, np.ndarray],
    axes: Mapping[str, Sequence[str]],
    inputs: Mapping[str, np.ndarray],
) -> tuple[tuple[str, ...], ...]:
    """The words of each sample, where a map has an axis of tokens as long as the ids; none otherwise."""
    vocabularies = prepared.vocabularies
    shapes = [array.shape[:2] for name, array in maps.items() if "token" in axes.get(name, ())]
    for name, words in vocabularies.items():
        ids = inputs.get(name)
        if ids is not None and ids.ndim == 2 and ids.dtype.kind in "iu" and ids.shape in shapes:
            return tuple(tuple(_word(words, index) for index in row) for row in ids.tolist())
    return ()


def _word(words: Sequence[str], index: int) -> str:
    """The word of an id; an id that has none is shown as it is."""
    return words[index] if 0 <= index < len(words) else str(index)
