"""How a method runs on a model: its graphs and chunks, by what is known of the samples of a batch."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.attributions.options import Options
from onnxattr.compile.axes import axis_names
from onnxattr.compile.baseline_kinds import Fed, open_sizes, shape_for_sample
from onnxattr.compile.method import Method
from onnxattr.compile.renderings.driven import step_rewrite
from onnxattr.compile.renderings.model_graph import own_names
from onnxattr.compile.renderings.one_sample import as_one_sample, keeps_output
from onnxattr.compile.renderings.rewrite import Request
from onnxattr.compile.sample_shapes import channel_axes, check_apart
from onnxattr.errors import ModelError, ParameterError
from onnxattr.graph.values import dims_of
from onnxattr.loading.heads import is_binary
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.rows.independence import SINGLE, UNDECIDED, of_one_row
from onnxattr.running.baselines.shapes import check_count, check_sizes, rows_of
from onnxattr.running.baselines.values import asked, called
from onnxattr.running.driver import Driver
from onnxattr.running.given.arrays import model_inputs, row_count, take
from onnxattr.running.given.corners import warn_of_corners
from onnxattr.running.given.feature_mask import columns_mask, groups_of, sizes_of_masks
from onnxattr.running.given.input_values import check_values
from onnxattr.running.given.one_sample import has_classes, label_of_row, targets_of_sample
from onnxattr.running.given.targets import Targets, as_targets
from onnxattr.running.rows import by_runs
from onnxattr.running.runs import Feeds
from onnxattr.running.sharing import SharingDriver
from onnxattr.scores.check import checked_score
from onnxattr.scores.score import LINEAR, Score


class Plan:
    """A method on a model. Whether samples may be run in chunks is decided before the first run, if not by proof.

    Attributes:
        prepared: The model, as the caller knows it.
        request: What the graphs are made of: the same, or with an axis of samples where all rows are one.
        driver: Runs them.
        misfit: Why the baseline does not fit the model, as far as that is known before it is known what rows are.
    """

    request: Request
    driver: Driver

    def __init__(
        self,
        prepared: Prepared,
        method: Method,
        reducer: str | None,
        batch_size: int | None,
        options: Options,
        score: Score = LINEAR,
        reducer_asked: bool = False,
    ):
        """Makes a plan.

        Raises:
            ModelError: If the model's batch is fixed above 1.
            ParameterError: If the baseline or a mask of features does not fit, or one explained value is computed from
                another and the method needs a path or noise at both.
        """
        self.prepared, self._method, self._reducer = prepared, method, reducer
        self._batch_size, self._options, self._score = batch_size, options, score
        self._drivers: dict[Any, Driver] = {}
        self._reducer_asked = reducer_asked
        self._unseen_boxes = True
        if score.linear and prepared.rows.kind == SINGLE:
            output = prepared.value(prepared.output)
            prepared.rows = of_one_row(prepared.model.graph, prepared.opset, output)
        self._make()

    @property
    def one_sample(self) -> bool:
        """Whether all of the first axis is one sample."""
        return self.prepared.rows.mixed

    def _make(self) -> None:
        ran = self.prepared
        if self.one_sample:
            ran = as_one_sample(self.prepared)
            self.prepared.unit = ran.unit
        self._made_for = self.prepared.rows
        score = self._checked_score(ran)
        check_apart(ran, self._method)
        axes = channel_axes(self.prepared, self._method, self._options.channel_axis, self._reducer_asked)
        method = self._fitted(ran, axes)
        reduced = axes if self._reducer is not None and self._reducer_asked else (None,) * len(axes)
        mask = self._options.feature_mask
        mask = columns_mask(ran) if mask is None and method.placement is None else mask
        groups = groups_of(ran, mask, reduced, method.placement)
        options = self._options
        self.request = Request(
            ran, method, self._reducer, axes, options.relu_policy,
            score=score, groups=groups, rewrites=options.rewrites, share=options.share,
        )  # fmt: skip
        key = self._made_for.kind, method.key
        if method.key is None or key not in self._drivers:
            self._drivers[key] = SharingDriver(
                self.request, self._batch_size, options.seed, options.providers
            )
        self.driver = self._drivers[key]

    def _fitted(self, ran: Prepared, axes: Sequence[int | None]) -> Method:
        """The method with the baseline that was asked for as it fits the model."""
        self.misfit: ParameterError | None = None
        if (wanted := self._method.baseline) is None:
            return self._method
        try:
            baseline = wanted.fit(self.prepared, ran, axes)
        except ParameterError as error:
            if self.prepared.rows.kind != UNDECIDED:
                raise
            self.misfit, baseline = error, asked(0.0).fit(self.prepared, ran, axes)
        return replace(self._method, baseline=baseline)

    @property
    def _baselines(self) -> Iterator[tuple[ir.Value, Any]]:
        """The explained values with their baselines; nothing for methods without."""
        ran = self.request.prepared
        return zip(map(ran.value, ran.wrt), self.request.method.baseline or (), strict=False)

    @property
    def _rows_given(self) -> Iterator[np.ndarray]:
        """The baselines that the caller gave as rows, one for each sample or one for all."""
        for value, kind in self._baselines:
            given = kind.given if isinstance(kind, Fed) else None
            if isinstance(given, np.ndarray) and given.ndim == len(dims_of(value) or []):
                yield given

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes that the model leaves open, and the numbers of a baseline or a mask do not, by their names."""
        found = dict[str, int]()
        for value, kind in self._baselines:
            found |= open_sizes(kind, dims_of(value) or [])
        return found | sizes_of_masks(self.request)

    def of(self, method: Method) -> Plan:
        """The same for another method, on the same sessions where their baselines alone differ and are fed."""
        other = copy.copy(self)
        other._method = method
        other._make()
        return other

    def baselines(self, feeds: Feeds, rows: int, first_row: int, dataset: bool) -> Feeds:
        """The baselines that come from outside the graph, for some samples of a dataset, or for all samples.

        Raises:
            ShapeError: If there are rows for another number of samples.
        """
        found, ran, part = {}, self.request.prepared, slice(first_row, first_row + rows)
        for own, (value, kind) in zip(own_names(ran, "baseline"), self._baselines, strict=False):
            what, name = self._method.baseline.what, str(value.name)
            shape = feeds[name].shape if name in feeds else None
            if shape is not None and (numbers := shape_for_sample(kind)):
                check_sizes(numbers, numbers, shape, what)
            if not isinstance(kind, Fed):
                continue
            if isinstance(given := kind.given, np.ndarray):
                found[own] = rows_of(given, value, shape, part, what, dataset)
            else:
                result = called(given, ran, name, feeds, what)
                found[own] = rows_of(result, value, shape, slice(0, rows), f"The result of {what}(inputs)")
        return found

    def check_baselines(self, rows: int) -> None:
        """Checks that a dataset had a sample for every row of the baselines.

        Raises:
            ShapeError: If it had not.
        """
        for given in self._rows_given:
            check_count(given, rows, self._method.baseline.what)

    @property
    def per_sample(self) -> str | None:
        """The parameter that has a row for each sample, so that it fits the samples of one call alone; None without."""
        if any(groups is not None and groups.per_sample for groups in self.request.map_groups):
            return "feature_mask"
        several = any(len(given) > 1 for given in self._rows_given)
        return str(self._method.baseline.what) if several else None

    def _checked_score(self, ran: Prepared) -> Score:
        one_row = self.one_sample or ran.rows.kind == SINGLE
        inner = any(ran.value(name).producer() is not None for name in ran.wrt)
        return checked_score(
            self._score, ran.inputs, [ran.value(name) for name in ran.outputs], ran.opset, one_row, inner
        )

    def decide(self, feeds: Feeds | None, stacklevel: int) -> None:
        """Finds out whether samples are independent, where that is open, by runs on some inputs or on made-up ones.

        Raises:
            ModelError: If the model does not run.
        """
        if self.prepared.rows.kind != UNDECIDED:
            if self._made_for is not self.prepared.rows:
                self._make()
            return
        try:
            rows = by_runs(self.prepared, self.driver.output, feeds)
        except ModelError:
            step_rewrite(self.request)  # an operator without a rule is the better reason
            raise
        if rows is not None:
            self.prepared.rows = rows
            self._make()
            self.warn(stacklevel + 1)

    def warn(self, stacklevel: int) -> None:
        """Warns if the whole first axis is one sample."""
        if self.one_sample:
            warnings.warn(
                f"The samples of a batch are not computed independently: {self.prepared.rows.why}. The whole first "
                f"axis is explained as one sample; give one sample at a time.",
                stacklevel=stacklevel + 1,
            )

    def feeds(self, inputs: Any, stacklevel: int) -> tuple[Feeds, int]:
        """What the caller gave as feeds of the driver, checked, and the number of samples.

        Raises:
            ShapeError: If an input does not fit the model.
        """
        feeds = model_inputs(self.prepared, inputs)
        check_values(self.prepared, feeds)
        self.decide(feeds, stacklevel + 1)
        if self.one_sample:
            return {name: array[None] if array.ndim else array for name, array in feeds.items()}, 1
        return feeds, row_count(feeds)

    def targets(self, given: Any, feeds: Feeds, rows: int) -> Targets:
        """What the caller wants explained, checked.

        Raises:
            TargetError: If it does not fit the output.
        """
        if not self.one_sample:
            found = as_targets(self.prepared, given, rows, self.request.target_kind)
            if self._unseen_boxes and self.request.target_kind.corners:
                warn_of_corners(self.driver.predict(take(feeds, slice(1)), 1))
                self._unseen_boxes = False
            return found
        ran, kind = self.request.prepared, self.request.target_kind
        label = label_of_row(self.prepared, ran, given, kind, lambda: self.driver.output(feeds)[0])
        return label or targets_of_sample(self.prepared, ran, given, kind)

    def scores(self, inputs: Any, targets: Any, stacklevel: int) -> np.ndarray:
        """The explained score of each row, (N,)."""
        feeds, rows = self.feeds(inputs, stacklevel + 1)
        return self.driver.scores(feeds, self.targets(targets, feeds, rows), rows)

    def as_given(self, prediction: np.ndarray) -> np.ndarray:
        """The model's output as the model itself gives it."""
        return prediction[0] if self.one_sample and not keeps_output(self.prepared) else prediction

    def axes(self, grouped: Collection[str]) -> dict[str, tuple[str, ...]]:
        """What the axes of each map are, by what is explained; of those named the maps are sums over groups."""
        request = self.request
        named = zip(self.prepared.asked, self.prepared.wrt, request.channel_axes, strict=True)
        return {
            asked: axis_names(self.prepared, name, axis, request.placement, asked in grouped)
            for asked, name, axis in named
        }

    def labels(self, target: str) -> bool:
        """Whether the targets of an exported file are labels.

        Raises:
            ParameterError: If they shall be, and the output has no classes.
        """
        if not self.request.target_kind.labels:
            if target == "labels":
                raise ParameterError(
                    f"target='labels': the score {self._score.name!r} takes no labels; export with target='weights'."
                )
            return False
        classes = is_binary(self.prepared.unit)
        classes |= len(dims_of(self.prepared.value(self.prepared.output)) or []) == 2
        if self.one_sample:
            classes = has_classes(self.prepared)
            if target == "labels" and not classes:
                raise ParameterError(
                    f"target='labels': {self.prepared.rows.why}, so that the whole first axis is one sample, and the "
                    f"output is not one row of classes; export with target='weights'."
                )
        return target == "labels" or (target == "auto" and classes)
