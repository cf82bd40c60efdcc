"""Scores of changed inputs: the forward pass and the score as one graph, run over many copies in chunks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir
from tqdm import tqdm

from onnxattr.attributions.base import Attribution
from onnxattr.compile.method import Method, first_moment
from onnxattr.compile.renderings.model_graph import own_name
from onnxattr.compile.renderings.rewrite import Rewrite
from onnxattr.errors import ModelError, NonFiniteError, ParameterError, ShapeError, one_door
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of, named_values
from onnxattr.loading.channels import channel_axis_of_layer
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.reading.source import framework_of
from onnxattr.running.given.arrays import take
from onnxattr.running.given.batches import is_dataset, join, pairs_of
from onnxattr.running.given.tables import orders_of
from onnxattr.running.given.targets import Targets, label_weights
from onnxattr.running.progress import hidden
from onnxattr.running.runs import Feeds
from onnxattr.session import Session

#: (op, y) -> what is put behind the model's output.
ACTIVATIONS: Mapping[str, Callable[[OpBuilder, ir.Value], ir.Value]] = {
    "sigmoid": lambda op, y: op.Sigmoid(y),
    "softmax": lambda op, y: op.Softmax(y, axis=-1),
}
#: (sample of each row, draw of each row) -> the changed inputs, one row each.
Change = Callable[[np.ndarray, np.ndarray], np.ndarray]

_CHANGED, _SCORES = "onnxattr/changed", "onnxattr/scores"
#: Rows that a model of a framework is converted with.
_SAMPLE = 8


class Forward(Attribution):
    """A model of which only scores are wanted; it explains nothing and has no advice on what to explain."""

    def _method(self) -> Method:
        return Method(first_moment)

    def _warn(self) -> None:
        pass


class ScoredInputs:
    """Inputs, targets and the model that scores them.

    Attributes:
        method: The model as a method's, which gives predictions.
        x: What is changed: the model's input that is explained, or an inner value at the inputs, (N, ...).
        weights: The targets as weights on the model's output, (N, ...).
        labels: The same as classes, (N,), where classes were given or predicted; else None.
        channel_axis: The channel axis of images, None for other inputs.
        order: Where the columns of a table that was given stand in the model; None where they stand alike.
        features: The names of the input's columns by its name, where the model has some.
    """

    def __init__(
        self,
        model: Any,
        inputs: Any,
        targets: Any,
        batch_size: int | None,
        operator: Any,
        activation: str | None,
        options: Mapping[str, Any],
    ):
        """Loads the model and finds out what the targets are.

        Args:
            model: What every method takes, or a method, whose model and operator are taken.
            inputs: What ``explain`` takes.
            targets: What ``explain`` takes; None for the class predicted on the inputs as they are.
            batch_size: Most rows in one run of the model; None for no limit.
            operator: As every method's.
            activation: "sigmoid", "softmax" or None: what is put behind the model's output.
            options: Options that every method takes by keyword.

        Raises:
            ModelError: If rows are not computed apart, or several inputs are explained.
            ParameterError: If a parameter is outside its domain.
            ShapeError: If the inputs do not fit the model.
            TargetError: If the targets do not fit its output.
        """
        if activation is not None and activation not in ACTIVATIONS:
            raise ParameterError(
                f"activation={activation!r}: expected one of {sorted(ACTIVATIONS)}, or None."
            )
        if framework_of(model) is not None and hasattr(inputs, "shape"):
            options = {"sample": inputs[:_SAMPLE]} | dict(options)
        self.method = _forward(model, batch_size, operator, options)
        self._activation, self._plan = activation, self.method._plan
        inputs, targets = _whole(self.method, inputs, targets)
        self.feeds, self.rows = self._plan.feeds(inputs, stacklevel=5)
        prepared = self._plan.request.prepared
        _check_scorable(prepared, self._plan.one_sample)
        self.name, self.order = prepared.wrt[0], orders_of(prepared, inputs).get(prepared.wrt[0])
        self.features = {name: names for name, names in prepared.features.items() if name == self.name}
        checked = self._plan.targets(targets, self.feeds, self.rows)
        self.channel_axis = self._plan.request.channel_axes[0]
        with one_door("The model cannot be run"):
            self.weights, self.labels = self._weights_and_labels(checked)
            self.x = self.feeds[self.name] if self.name in self.feeds else self._inner(prepared)

    @cached_property
    def channels(self) -> int | None:
        """The channel axis of images, series and volumes, as far as the graph tells it; None for other inputs."""
        if self.channel_axis is not None:
            return self.channel_axis
        ranked = self.x.ndim in (3, 5)
        return channel_axis_of_layer(self._plan.request.prepared.value(self.name)) if ranked else None

    def _weights_and_labels(self, targets: Targets) -> tuple[np.ndarray, np.ndarray | None]:
        """Targets as weights on the output and, where they are classes, as labels."""
        if targets.weights is not None:
            return targets.weights, None
        assert targets.labels is not None
        prediction = self._plan.driver.predict(self.feeds, self.rows)
        weights = label_weights(self._plan.request.prepared, targets.labels, prediction)
        flat = weights.reshape(self.rows, -1)
        return weights, flat.argmax(axis=1) if self.method.unit is None else (flat[:, 0] > 0) * 1

    def _inner(self, prepared: Prepared) -> np.ndarray:
        """The explained inner value at the inputs."""
        session = Session(prepared.part([self.name]), self._plan.driver.providers, prepared.folder)
        chunks = self._plan.driver.chunks(self.feeds, self.rows)
        found = np.concatenate([session.run(take(self.feeds, part))[0] for part in chunks])
        if len(found) != self.rows:
            raise ModelError(f"wrt {self.name!r} has a first axis of {len(found)} for {self.rows} samples.")
        return found

    @cached_property
    def _session(self) -> Session:
        """The score of each row: the model's inputs, the changed value and the target in, (R,) out."""
        prepared = self._plan.request.prepared
        rewrite = Rewrite(replace(self._plan.request, prepared=activated(prepared, self._activation)))
        op = rewrite.op
        if self.name not in self.feeds:
            dims = [*(dims_of(rewrite.wrt[0]) or [])]
            rewrite.place_points(lambda x, _: op.input(_CHANGED, x.dtype, dims))
        scores = op.Reshape(rewrite.score_of_rows(rewrite.target_input("rows")), [-1])
        scores.name, scores.shape = op.unique_name(_SCORES, exact=True), ir.Shape(["rows"])
        rewrite.graph.outputs.append(scores)
        return Session(rewrite.finished_model(), self._plan.driver.providers, prepared.folder)

    @cached_property
    def scores(self) -> np.ndarray:
        """The scores of the inputs as they are, (N,)."""
        return self.of(lambda image, _: self.x[image], 1, None)[:, 0]

    def of(self, change: Change, draws: int, name: str | None) -> np.ndarray:
        """Scores of changed inputs.

        Args:
            change: Makes the changed inputs of some (sample, draw) pairs.
            draws: How often each sample is changed.
            name: What the progress bar is called; None for no bar.

        Returns:
            (N, draws), float64.

        Raises:
            NonFiniteError: If a score is NaN or infinite.
        """
        found = np.empty(self.rows * draws)
        target = {own_name(self._plan.request.prepared, "target"): self.weights}
        with self.progress(len(found), name) as bar, one_door("The model cannot be run on changed inputs"):
            for part in self._plan.driver.chunks(self.feeds, len(found)):
                image, draw = np.divmod(np.arange(part.start, part.stop), draws)
                changed = np.ascontiguousarray(change(image, draw), self.x.dtype)
                if changed.shape != (len(image), *self.x.shape[1:]):
                    raise ShapeError(
                        f"Changed inputs have shape {changed.shape}; expected {(len(image), *self.x.shape[1:])}."
                    )
                feeds: Feeds = take(self.feeds | target, image.tolist())
                feeds[self.name if self.name in self.feeds else _CHANGED] = changed
                found[part] = self._session.run(feeds)[0]
                bar.update(len(image))
        scores = found.reshape(self.rows, draws)
        bad = np.argwhere(~np.isfinite(scores))
        if len(bad):
            sample, draw = bad[0]
            raise NonFiniteError(
                f"The score of sample {sample} is {scores[sample, draw]} after change {draw} of {draws}: nothing can "
                "be measured there. Check the model's prediction, and that what features are set to is in its domain."
            )
        return scores

    def progress(self, total: int, name: str | None, unit: str = "copy") -> tqdm:
        """A progress bar, shown as those of methods are."""
        show = self.method.progress if name else False
        return tqdm(total=total, disable=hidden(show), desc=name, unit=unit, leave=False)


def _check_scorable(prepared: Prepared, one_sample: bool) -> None:
    """Refuses models of which changed copies of one input cannot be scored in one run.

    Raises:
        ModelError: If rows are not computed apart, or several inputs are explained.
    """
    if one_sample:
        raise ModelError(
            f"Metrics score many changed copies of a sample in one run, but samples are not computed "
            f"independently: {prepared.rows.why}. Give a model whose first axis is that of samples."
        )
    if len(prepared.wrt) > 1:
        raise ModelError(
            f"Metrics change one input, and the model is explained at {list(prepared.wrt)}. Name one of them with "
            "wrt=<name>; the others stay as they are."
        )


def activated(prepared: Prepared, activation: str | None) -> Prepared:
    """The model with an activation behind its output."""
    if activation is None:
        return prepared
    model = prepared.clone()
    model.meta.update(prepared.model.meta)
    output = named_values(model.graph)[prepared.output]
    op = OpBuilder(model.graph, prepared.opset, prefix="onnxattr")
    result = ACTIVATIONS[activation](op, output)
    result.name = op.unique_name(f"{prepared.output}_{activation}")
    result.type, result.shape = output.type, output.shape
    model.graph.outputs[:] = [result]
    return replace(prepared, model=model, output=result.name)


def _forward(model: Any, batch_size: int | None, operator: Any, options: Mapping[str, Any]) -> Attribution:
    """A method that gives the model, its inputs and its score."""
    if not isinstance(model, Attribution):
        return Forward(model, batch_size=batch_size, operator=operator, **options)
    fixed = set(options) - {"progress", "seed"} | ({"operator"} if operator is not None else set())
    if fixed:
        raise ParameterError(
            f"{sorted(fixed)} were given beside a method, {model.name}, which has its own: give them to the method, or "
            "give the metric the model itself."
        )
    forward = Forward.__new__(Forward)
    forward.__dict__ |= model.__dict__ | {"batch_size": batch_size, "reducer": None}
    forward.options = replace(model.options, **options)
    placement, prepared = model._plan.request.placement, model.prepared
    if placement is not None and placement.image is not None:
        # A map at a layer is shown over the input, which is what changes.
        prepared = replace(prepared, wrt=(placement.image,))
    return on_prepared(forward, prepared)


def on_prepared(method: Attribution, prepared: Prepared) -> Attribution:
    """A copy of a method on another prepared model."""
    twin = copy.copy(method)
    twin.prepared = prepared
    twin._plan = twin._planned()
    return twin


def _whole(method: Attribution, inputs: Any, targets: Any) -> tuple[Any, Any]:
    """All batches of a dataset as one; other inputs as they are."""
    if not is_dataset(inputs):
        return inputs, targets
    pairs = list(pairs_of(method.prepared, inputs, targets, method.batch_size))
    if not pairs:
        raise ShapeError("The dataset gave no batch; at least one sample is needed.")
    if isinstance(pairs[0][0], (Mapping, list, tuple)):
        raise ShapeError("A dataset of several inputs is not read by metrics; give the arrays.")
    given = [y for _, y in pairs]
    if any(y is None for y in given) and not all(y is None for y in given):
        raise ShapeError("Only some batches of the dataset have targets; give them to all, or to none.")
    joined = None if given[0] is None else join([np.asarray(y) for y in given])
    return join([np.asarray(x) for x, _ in pairs]), joined
