"""An exported explainer: its graph, made small, and the metadata that say what it is."""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
from collections.abc import Mapping
from types import NoneType
from typing import Any

import numpy as np
import onnx

from onnxattr.compile.axes import axis_names
from onnxattr.compile.baseline_kinds import Baseline, Fed
from onnxattr.compile.body_arguments import own_arguments
from onnxattr.compile.body_weights import own_weights
from onnxattr.compile.fit import BASELINE_FIT, BOXES_FIT, LABELS_FIT, ROWS_FIT, SEED_FIT, TARGETS_FIT
from onnxattr.compile.noise import VERSION
from onnxattr.compile.own_sequences import own_sequences
from onnxattr.compile.own_states import own_states
from onnxattr.compile.pixels import take_bytes
from onnxattr.compile.renderings.batch import batch_model
from onnxattr.compile.renderings.groups import FIT
from onnxattr.compile.renderings.loop import loop_model
from onnxattr.compile.renderings.model_graph import own_name, own_names
from onnxattr.compile.renderings.one_sample import without_sample_axis
from onnxattr.compile.renderings.rewrite import Request
from onnxattr.compile.unfused import keep_apart
from onnxattr.errors import ModelError, ParameterError
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.requantised import keep_real, serialised
from onnxattr.graph.runtimes import known_faults
from onnxattr.graph.subgraphs import graphs_in
from onnxattr.loading.prepared import Prepared
from onnxattr.scores.score import TargetKind

RENDERINGS = ("auto", "batch", "loop")
#: The key of an explainer's metadata, a JSON object.
KEY = "onnxattr.explainer"
_OURS = "onnxattr/"
#: Nodes that check sizes keep these names, which the runtime's error then shows.
_CHECKS = (FIT, TARGETS_FIT, BASELINE_FIT, ROWS_FIT, LABELS_FIT, BOXES_FIT, SEED_FIT)
_FLOATS = frozenset(dtype.value for dtype in FLOATS)
#: From this rank on a known shape decides which layout, and so which kernel, a runtime takes.
_LAYOUT_RANK = 3
#: Numbers of an array that the metadata list.
_LISTED = 64


def build(
    request: Request,
    rows: int | None,
    rendering: str,
    labels: bool,
    method: Mapping[str, Any],
    original: Prepared,
) -> onnx.ModelProto:
    """Writes an explainer.

    Args:
        request: The method and the model.
        rows: Most rows in one run of the model; None for no bound.
        rendering: "batch", "loop", or "auto" for a loop if one image alone has more points than ``rows``.
        labels: Whether targets are labels, not weights.
        method: What the metadata say of the method: its name and parameters.
        original: The model as the caller knows it, without an axis of samples where all rows are one.

    Raises:
        ParameterError: If there is nothing to loop over.
        ModelError: If all points shall be one batch, and the model's batch is fixed.
    """
    if rendering == "batch":
        request = request.unbounded()
    rendering = _chosen_rendering(request, rows, rendering, method["method"], original)
    if rendering == "batch":
        model = batch_model(request, labels, tells=True)
    else:
        model = loop_model(request, labels, max((rows or 1) // request.rows_each, 1), tells=True)
    proto = serialised(model)
    if original.rows.mixed:
        without_sample_axis(proto, request, original, labels)
    own_arguments(proto.graph)
    own_weights(proto.graph)
    own_sequences(proto.graph)
    own_states(proto.graph)
    keep_apart(proto.graph)
    keep_real(proto)
    # Before the names and shapes of inner values are dropped.
    faults = known_faults(proto)
    compact(proto)
    take_bytes(proto, original.preprocessing)
    about = dict(method) | {"rendering": rendering, "batch_size": rows if rendering == "loop" else None}
    about |= {"rows": original.rows.kind, "rows_why": original.rows.why}
    if faults:
        about["runtimes"] = faults
    text = json.dumps(about | _describe(request, original, labels), default=_array_as_json)
    proto.metadata_props.append(onnx.StringStringEntryProto(key=KEY, value=text))
    return proto


#: What running an explainer needs of its metadata, and the types that it has.
_NEEDED: dict[str, Any] = {
    "method": str, "explained": dict, "inputs": list, "prediction": str, "target": str, "target_kind": str,
    "seed": (str, NoneType), "convergence_delta": (str, NoneType),
}  # fmt: skip


def _chosen_rendering(
    request: Request, rows: int | None, rendering: str, name: str, original: Prepared
) -> str:
    """The rendering to write, if the method and the model can be rendered as asked.

    Raises:
        ParameterError: If there is nothing to loop over.
        ModelError: If the points cannot be rows of one run.
    """
    refinement = request.method.refinement
    if refinement is not None:
        if not refinement.adaptive:
            raise ParameterError(
                "tolerance= with points='uniform' adds points while explain() runs, which an exported file cannot do. "
                "Use points='adaptive', or a fixed number of steps without tolerance."
            )
        if rendering == "batch":
            raise ParameterError(
                "rendering='batch' takes all points in one run, but adaptive points follow from those before them. "
                "Use 'loop' or 'auto'."
            )
        rendering = "loop"
    if rendering == "auto":
        fits = rows is None or request.points_in_all <= rows or request.method.single
        rendering = "batch" if fits else "loop"
    if rendering == "loop" and request.method.single:
        raise ParameterError(
            f"rendering='loop' repeats gradients, but {name} takes a single one and has nothing to repeat. "
            "Use 'batch' or 'auto'."
        )
    if rendering == "loop" and rows is None and refinement is None:
        raise ParameterError(
            "rendering='loop' needs batch_size, the number of rows that one pass of the loop takes."
        )
    if rendering == "batch" and original.rows.mixed and request.method.points > 1:
        raise ModelError(
            f"rendering='batch' makes rows of points, but {original.rows.why}. Use 'loop' or 'auto'."
        )
    return rendering


def describe(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """What a model's metadata say of the explainer that it is; None for any other model.

    ``noise`` is the version of the generator in the file, None without one; files that do not tell it have the first.

    Raises:
        ModelError: If they are damaged.
    """
    if KEY not in metadata:
        return None
    try:
        found = json.loads(metadata[KEY])
        wrong = [name for name, kinds in _NEEDED.items() if not isinstance(found[name], kinds)]
        entries = list(found["explained"].values())
        wrong += [str(name) for name in found["inputs"] if not isinstance(name, str)]
        wrong += [str(e) for e in entries if not isinstance(e["attribution"], str)]
        told = {name: value for name, value in found.get("score", {}).items() if name in TargetKind.TOLD}
        wrong += [name for name, value in told.items() if not isinstance(value, type(TargetKind.TOLD[name]))]
        wrong += [str(e) for e in entries if not isinstance(e["baseline"], (str, NoneType))]
        others = found.get("predictions", {})
        wrong += [f"{k}: {v}" for k, v in others.items() if not isinstance(v, str)]
        limits = found.get("limits", [])
        wrong += (
            [str(text) for text in limits if not isinstance(text, str)]
            if isinstance(limits, list)
            else ["limits"]
        )
        wrong += [] if isinstance(found.get("score", {}).get("output"), (str, NoneType)) else ["output"]
        if wrong or not entries or found["target_kind"] not in ("labels", "weights"):
            raise ValueError(f"unexpected {wrong[:3] or 'entries'}")
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"The metadata entry {KEY!r}, which makes a file an explainer, is damaged ({error!r}): export it again, or "
            "remove the entry to use the file as a model."
        ) from error
    return {"noise": 1 if found["seed"] else None, **found}


def _array_as_json(array: Any) -> Any:
    """A small array in full; a large one, a baseline image, by its hash: as text it would outweigh the graph.

    A function by its name.
    """
    if not isinstance(array, np.ndarray):
        return getattr(array, "__qualname__", type(array).__name__)
    if array.size <= _LISTED:
        return array.tolist()
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": digest}


def _describe(request: Request, original: Prepared, labels: bool) -> dict[str, Any]:
    prepared = request.shown
    return {
        "convergence_delta": own_name(prepared, "convergence_delta") if request.has_delta else None,
        "relative_gap": own_name(prepared, "relative_gap") if request.has_gap else None,
        "spent_steps": None if request.method.refinement is None else own_name(prepared, "spent_steps"),
        "explained": _explained(request, original),
        "inputs": [str(value.name) for value in request.prepared.inputs],
        "model_output": prepared.output,
        "noise": VERSION if request.seeded else None,
        "model_sha256": prepared.digest,
        "onnxattr": importlib.metadata.version("onnxattr"),
        "opset": prepared.opset,
        "prediction": own_name(prepared, "prediction"),
        "predictions": {name: own_name(prepared, f"prediction_{name}") for name in prepared.others},
        "score": {
            "name": request.score.name,
            "formula": request.score.formula,
            "output": None if request.score.linear else own_name(prepared, "score"),
        }
        | {name: getattr(request.target_kind, name) for name in TargetKind.TOLD},
        "seed": own_name(prepared, "seed") if request.seeded else None,
        "target": own_name(prepared, "target"),
        "target_kind": "labels" if labels else "weights",
        "unit": prepared.unit,
    }


def _explained(request: Request, original: Prepared) -> dict[str, Any]:
    """By the name of each explained value: its attribution and baseline in the file, its axes and its groups."""
    prepared = request.shown
    kinds: list[Baseline | None] = [*request.baselines] or [None] * len(prepared.wrt)
    rows = zip(
        prepared.wrt,
        prepared.asked,
        own_names(prepared, "attribution"),
        own_names(prepared, "baseline"),
        kinds,
        request.channel_axes,
        request.map_groups,
        strict=True,
    )
    return {
        asked: {
            "attribution": attribution,
            "baseline": baseline if isinstance(kind, Fed) else None,
            "axes": axis_names(original, name, axis, request.placement, groups is not None),
            "value": name,
            "groups": None if groups is None else groups.count,
        }
        for name, asked, attribution, baseline, kind, axis, groups in rows
    }


def compact(proto: onnx.ModelProto) -> None:
    """Gives what a rewrite added to a model the shortest names, and drops the shapes that make no difference.

    The model's own nodes and values keep their names.
    """
    graphs = list(graphs_in(proto.graph))
    kept = {value.name for value in [*proto.graph.input, *proto.graph.output]}
    taken = kept | {name for graph in graphs for node in graph.node for name in [*node.input, *node.output]}
    fresh = (name for name in map(_short, itertools.count()) if name not in taken)
    names: dict[str, str] = {}

    def short(name: str) -> str:
        if not name.startswith(_OURS) or name in kept:
            return name
        if name not in names:
            names[name] = next(fresh)
        return names[name]

    for graph in graphs:
        for node in graph.node:
            node.input[:] = [short(name) for name in node.input]
            node.output[:] = [short(name) for name in node.output]
            if node.name.startswith(_OURS) and not any(check in node.name for check in _CHECKS):
                node.ClearField("name")
        for tensor in [*graph.initializer, *graph.input, *graph.output]:
            tensor.name = short(tensor.name)
        described = [v for v in graph.value_info if not v.name.startswith(_OURS) or _decides_layout(v)]
        del graph.value_info[:]
        graph.value_info.extend(described)
        for value in graph.value_info:
            value.name = short(value.name)
        graph.name = short(graph.name)


def _decides_layout(value: onnx.ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    return tensor.elem_type in _FLOATS and len(tensor.shape.dim) >= _LAYOUT_RANK


def _short(number: int) -> str:
    """A name of letters for a number: a, b, ..., z, ba, bb, ..."""
    letters = ""
    while number or not letters:
        number, digit = divmod(number, 26)
        letters = chr(ord("a") + digit) + letters
    return letters
