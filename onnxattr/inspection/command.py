"""A command that explains a model, as it is typed: with the options that this model needs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from onnxattr.graph.values import shape_text

#: By the kind of an input the file that stands for the user's in a command.
_FILES = {
    "image": "images.npy", "series": "series.npy", "audio": "sound.wav", "table": "rows.csv", "integers": "ids.npy",
    "booleans": "masks.npy", "tokens": "ids.npy", "numbers": "rows.npy", "volume": "volumes.npy", "text": "rows.csv",
}  # fmt: skip
#: Kinds of the inputs that an explainer has beside those of its model.
OF_EXPLAINER = ("target", "seed", "baseline")


def options_for(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a method needs for a model: where it is cut, what is explained, which of its outputs.

    Args:
        facts: What ``facts.facts_of`` collects of a model.
    """
    found: dict[str, Any] = {}
    output = _output(facts)
    if output is None:
        return found
    if "logits" in output and "unit" not in output:
        found["output_layer"] = output["logits"]
    elif sum(map(_is_float, facts["outputs"])) > 1:
        found["output"] = output["name"]
    words = [table for table in facts["embeddings"] if table["words"]]
    if words:
        found["wrt"] = words[0]["name"]
    elif facts["explained"] == [] and (names := [*facts["embeddings"], *facts["made_of_integers"]]):
        found["wrt"] = names[0]["name"]
    shape = output["logits_shape"] if "output_layer" in found else output["shape"]
    if shape is not None and len(shape) > 2 and facts["batch"] != "none":
        found["neuron"] = (0,) * (len(shape) - 1)
    return found


def _output(facts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The output that a command explains: the first of floats that needs no weights, else the first; None of none."""
    floats = [output for output in facts["outputs"] if _is_float(output)]
    return next((output for output in floats if _is_of_samples(output, facts)), next(iter(floats), None))


def _is_of_samples(output: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether an output has an axis of samples, or one number for each thing found, unlike boxes of detections."""
    own = next((one["shape"] for one in facts["inputs"] if one["kind"] not in OF_EXPLAINER), None)
    shape = output["shape"]
    return not shape or not own or len(shape) == 1 or shape[0] == own[0]


def _needs_targets(facts: Mapping[str, Any]) -> bool:
    """Whether there is no class that could be the predicted one, so that targets are weights on the output."""
    if facts["explainer"] is not None:
        return bool(facts["explainer"]["target_kind"] == "weights")
    output = _output(facts)
    shape = None if output is None else output["shape"]
    if output is None or shape is None:
        return False
    if facts["batch"] != "none" and _is_of_samples(output, facts):
        return False
    return len(shape) != 2 or shape[1] not in (1, None)


def command_for(facts: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[str, str]:
    """The command, and what its file holds.

    Args:
        facts: What is known of the model.
        options: Those of ``options_for``.
    """
    file, held = _file(facts)
    parts = ["onnxattr", "explain", facts["file"] or "model.onnx", file]
    names = {
        "output_layer": "--output-layer",
        "output": "--model-output",
        "wrt": "--wrt",
        "neuron": "--neuron",
    }
    for name, given in options.items():
        parts += [names[name], ",".join(map(str, given)) if isinstance(given, tuple) else str(given)]
    if _needs_targets(facts):
        parts += ["--targets", "targets.npy"]
        held += "; targets.npy: weights of the output's shape"
    if file == "rows.csv" and len(facts["inputs"]) > 1:
        return shlex.join([*parts, "-o", "maps.csv"]), held
    several = isinstance(options.get("wrt"), tuple) or (len(facts["explained"]) > 1 and "wrt" not in options)
    if file != "photo.jpg":
        parts += ["-o", "maps.npz" if several else "maps.npy"]
    return shlex.join(parts), held


def _file(facts: Mapping[str, Any]) -> tuple[str, str]:
    """The file of the user that a command names, and what is in it."""
    inputs = [one for one in facts["inputs"] if one["kind"] not in OF_EXPLAINER]
    if len(inputs) > 1 and all(_is_column(one) for one in inputs):
        columns = [f"{one['name']}{' (text)' * (one['type'] == 'string')}" for one in inputs]
        return "rows.csv", f"a table with the columns {', '.join(columns[:6])}{', ...' * (len(columns) > 6)}"
    if len(inputs) > 1:
        held = "; ".join(f"{one['name']} {_type_and_shape(one)}" for one in inputs)
        return "inputs.npz", f"an array for each input: {held}"
    if not inputs:
        return "inputs.npz", "nothing: the model has no input"
    (only,) = inputs
    spec = facts["preprocessing"]
    if only["kind"] == "image" and ((spec and facts["explainer"] is None) or (spec and spec["in_graph"])):
        return "photo.jpg", "a photo; a picture is written beside it"
    if only["kind"] == "image" and only.get("normalized_by"):
        return "photo.jpg", "a photo of the model's size; a picture is written beside it"
    file = _FILES[only["kind"]]
    held = _type_and_shape(only)
    if "features" in only:
        held = f"a table with the columns {', '.join(only['features'][:6])}{', ...' * (len(only['features']) > 6)}"
    elif file.endswith(".csv"):
        file = "rows.npy"
    if only["kind"] == "image":
        held += ", preprocessed as in training; for photos add --preprocess (onnxattr explain --help)"
    return file, held


def _is_column(one: Mapping[str, Any]) -> bool:
    """Whether an input is one column of a table: (N, 1), of kind table or of text."""
    return one["kind"] in ("table", "text") and len(one["shape"] or ()) == 2 and one["shape"][1] == 1


def _type_and_shape(one: Mapping[str, Any]) -> str:
    return f"{one['type']}{'32' if one['type'] == 'float' else ''} {shape_text(one['shape'])}"


def _is_float(output: Mapping[str, Any]) -> bool:
    return output["type"] in ("float", "float16", "bfloat16", "double") and output["shape"] != []
