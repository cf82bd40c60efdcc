"""Makes the result of a call: the attributions that were collected, with targets, scores and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxattr.graph.values import dims_of
from onnxattr.inputs.view import seen_part
from onnxattr.loading.heads import PROBABILITY, is_binary, probability_head
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.preprocessing.geometry import is_whole
from onnxattr.results import Explanation
from onnxattr.running.collected import Collected, Details
from onnxattr.running.driver import Driver
from onnxattr.running.given.targets import Targets, weights_of
from onnxattr.running.meant import model_output, said_of
from onnxattr.running.runs import Feeds, Run


def scored(driver: Driver, run: Run, feeds: Feeds, targets: Targets, rows: int) -> Details:
    """What is to be kept of a batch, scores included: from the prediction that was made, else by one forward pass.

    Args:
        driver: What ran it.
        run: What that gave.
        feeds: The model's inputs.
        targets: What was explained.
        rows: The number of rows.
    """
    linear, prediction = driver.request.score.linear, run.prediction
    if prediction is None and (linear or targets.weights is None):
        prediction = driver.predict(feeds, rows)
    weights = weights_of(driver.request.prepared, targets, prediction)
    own = {str(value.name): feeds[str(value.name)] for value in driver.request.prepared.inputs}
    if linear and prediction is not None:
        return Details(own, linear_scores(prediction, weights), weights, prediction)
    scores = run.scores
    if scores is None:
        scores = driver.scores(feeds, Targets(weights=weights), rows)
    return Details(own, scores.astype(np.float32), weights, prediction)


def linear_scores(prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sum of each row's outputs times its weights, float32 (N,); a weight of 0 counts 0 whatever the output is."""
    with np.errstate(invalid="ignore", over="ignore"):
        counted = np.where(weights == 0, 0, prediction.astype(np.float64) * weights.astype(np.float64))
        return np.asarray(counted.reshape(len(counted), -1).sum(axis=1).astype(np.float32))


def explanation_of(
    collected: Collected, one_sample: bool, axes: Mapping[str, tuple[str, ...]], about: Mapping[str, Any]
) -> Explanation:
    """The result of a call.

    Args:
        collected: What its batches gave.
        one_sample: Whether all of the first axis is one sample.
        axes: What the axes of each explained value are.
        about: The other fields of ``Explanation`` by name: those that do not depend on the inputs.
    """
    prepared = collected.prepared
    maps = dict(zip(prepared.asked, collected.arrays, strict=True))
    inner = [name for name in prepared.asked if name not in {str(v.name) for v in prepared.inputs}]
    weights = np.concatenate([part.targets for part in collected.details])
    labels = labels_of(prepared, weights)
    count = 2 if is_binary(prepared.unit) else weights.shape[-1] if weights.ndim > 1 else 0
    classes = prepared.class_names if len(prepared.class_names) == count else ()
    if one_sample and collected.dataset:
        axes = {name: ("row", *names) for name, names in axes.items()}
    scores, starts = _scores_at_both_ends(collected, labels)
    softmax = probability_head(prepared.model.graph, prepared.value(prepared.output)) is not None
    predictions = _predictions(collected, len(scores))
    return Explanation(
        attributions=maps,
        targets=weights if labels is None else labels,
        target_names=target_names(labels, classes, len(scores)),
        scores=scores,
        score_name="probability"
        if labels is not None and (prepared.unit == PROBABILITY or softmax)
        else "score",
        baseline_scores=starts,
        delta=_joined(collected.deltas),
        relative_gap=_joined(collected.gaps),
        spent_steps=_joined([spent.astype(np.int64) for spent in collected.spent]),
        model=str(prepared.files[0]) if prepared.files else "",
        output=prepared.output,
        classes=classes,
        layer=", ".join(inner) or None,
        inputs=_shown_with(maps, collected.inputs(one_sample), prepared),
        axes={name: names for name, names in axes.items() if len(names) == maps[name].ndim},
        features=_features(collected, maps),
        predictions=predictions,
        prediction_kind="" if predictions is None else _kind_of(prepared, softmax),
        seen=_seen(prepared, collected.inputs(one_sample), maps),
        **said_of(prepared, maps, axes, collected.inputs(one_sample), about),
        one_sample=one_sample and not collected.dataset,
        as_dict=collected.as_dict,
        **about,
    )


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray | None:
    """What batches gave, as one; None where they gave nothing."""
    return np.concatenate(parts) if parts else None


def _scores_at_both_ends(
    collected: Collected, labels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The scores of the samples, and those of their baselines where the method has some, (N,) each."""
    scores = np.concatenate([part.scores for part in collected.details])
    if collected.prepared.unit == PROBABILITY and labels is not None:
        # Of class 0 the probability is 1 - p, whose gradient is that of -p.
        scores = scores + (labels == 0).astype(np.float32)
    difference = _joined(collected.differences)
    with np.errstate(invalid="ignore"):
        return scores, None if difference is None else (scores - difference).astype(np.float32)


def _predictions(collected: Collected, samples: int) -> np.ndarray | None:
    """What the model gives for each class, float32 (N, C); see ``Explanation``."""
    binary = is_binary(collected.prepared.unit)
    parts = [
        array.astype(np.float32).reshape(-1, 1) if binary else array.astype(np.float32, copy=False)
        for part in collected.details
        if (array := part.prediction) is not None and (binary or array.ndim == 2)
    ]
    if len(parts) < len(collected.details):
        return None
    given = np.concatenate(parts)
    if binary:
        positive = given[:, -1:]
        probability = collected.prepared.unit == PROBABILITY
        given = np.concatenate([1 - positive if probability else -positive, positive], axis=1)
    return given if len(given) == samples and given.shape[1] > 1 else None


def _seen(
    prepared: Prepared, inputs: Mapping[str, np.ndarray], maps: Mapping[str, np.ndarray]
) -> tuple[int, int, int, int] | None:
    """What the network sees of photos, where maps are of that; None where they are of the photos."""
    spec = prepared.preprocessing
    if spec is None or not spec.in_graph or spec.at_pixels or spec.name in maps or spec.name not in inputs:
        return None
    shape = inputs[spec.name].shape
    if len(shape) != 4:
        return None
    height, width = shape[1:3] if spec.layout == "NHWC" else shape[2:4]
    return seen_part(spec, height, width)


def _kind_of(prepared: Prepared, softmax: bool) -> str:
    """What the output gives for classes, as far as the graph or the file says."""
    if softmax or prepared.unit == PROBABILITY:
        return "probabilities"
    meaning = prepared.meaning.outputs.get(model_output(prepared))
    kind = meaning.kind if meaning is not None else None
    # Of one unit z the two columns are z and -z, whose softmax is that of 2 z.
    return str(kind) if kind in ("probabilities", "logits") and not is_binary(prepared.unit) else ""


def _shown_with(
    maps: Mapping[str, np.ndarray], inputs: dict[str, np.ndarray], prepared: Prepared
) -> dict[str, np.ndarray]:
    """The inputs, without a photo that maps do not lie over, as the network sees a part of it, or more.

    A map of the photo's size lies over all of it.
    """
    spec = prepared.preprocessing
    if spec is None or not spec.in_graph or is_whole(spec) or spec.name not in inputs:
        return inputs
    if _seen(prepared, inputs, maps) is not None:
        return inputs  # pictures show the part that it sees
    shape = inputs[spec.name].shape
    sides = shape[-3:-1] if spec.layout == "NHWC" else shape[-2:]
    if all(sides in (array.shape[-3:-1], array.shape[-2:]) for array in maps.values()):
        return inputs
    return {name: array for name, array in inputs.items() if name != spec.name}


def total_of(
    collected: Collected, axes: Mapping[str, tuple[str, ...]], reducer: str | None
) -> np.ndarray | None:
    """What each row's attributions add up to before the reducer, (N,); None where it does not tell.

    Args:
        collected: The attributions.
        axes: What the axes of each explained value are.
        reducer: How channels were reduced.
    """
    if reducer not in (None, "sum", "mean") or (collected.prepared.rows.mixed and not collected.dataset):
        return None
    if collected.grouped and reducer == "mean":
        return None  # of groups the mean is one of channels only if it was asked for
    total: np.ndarray | int = 0
    for name, array in zip(collected.prepared.asked, collected.arrays, strict=True):
        value = collected.prepared.values.get(name)
        dims = (dims_of(value) if value is not None else None) or []
        place = next((k for k, axis in enumerate(axes[name]) if axis in ("channel", "embedding")), 0)
        channels = dims[place] if place < len(dims) else None
        reduced = reducer == "mean" and place and array.shape[place] == 1
        if reduced and not isinstance(channels, int):
            return None
        total = total + (channels if reduced else 1) * array.astype(np.float64).reshape(len(array), -1).sum(
            axis=1
        )
    return np.asarray(total, np.float64)


def labels_of(prepared: Prepared, weights: np.ndarray) -> np.ndarray | None:
    """The class that each row's weights pick, (N,) int64; None if they are no classes, or some row's are others."""
    if is_binary(prepared.unit):
        flat = weights.reshape(-1)
        return (flat > 0).astype(np.int64) if np.isin(flat, (-1, 1)).all() else None
    if weights.ndim != 2 or weights.shape[1] < 2:
        return None
    one_hot = ((weights == 0) | (weights == 1)).all() and (weights.sum(axis=1) == 1).all()
    return weights.argmax(axis=1).astype(np.int64) if one_hot else None


def target_names(labels: np.ndarray | None, classes: tuple[str, ...], rows: int) -> tuple[str, ...]:
    """What each row's target is called: its class's name, or number where that has none."""
    if labels is None:
        return ("",) * rows
    return tuple(classes[k] if k < len(classes) else f"class {k}" for k in labels)


def _features(collected: Collected, maps: Mapping[str, np.ndarray]) -> dict[str, tuple[str, ...]]:
    """The names of columns in the order of the attributions: those of the model, or of the table that was given."""
    found = {}
    for name, columns in collected.prepared.features.items():
        order = (collected.orders or {}).get(name)
        if name in maps and name not in collected.grouped:
            found[name] = tuple(columns if order is None else [columns[place] for place in order])
    if not found and len(maps) == 1 and collected.columns and not collected.grouped:
        found = {next(iter(maps)): collected.columns}
    return {name: names for name, names in found.items() if len(names) in maps[name].shape[1:]}
