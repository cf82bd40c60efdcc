"""Runs an exported explainer, for those who have this package at hand."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.callers import warn_caller
from onnxattr.errors import ParameterError, one_door
from onnxattr.graph.values import dims_of
from onnxattr.loading.load import FILES, FOLDER
from onnxattr.loading.reading.data_tensor import place_tensors
from onnxattr.loading.reading.source import read_model
from onnxattr.results import Explanation
from onnxattr.results.spelled import call, said
from onnxattr.running.about_model import AboutModel
from onnxattr.running.collected import Collected
from onnxattr.running.explained import explanation_of, total_of
from onnxattr.running.explainers.inputs import FileInputs, one_in_a_run
from onnxattr.running.explainers.metadata import (
    check_interface,
    metadata_told,
    outputs_named,
    prepared_of,
    rows_told,
    seed_told,
)
from onnxattr.running.explainers.outputs import FileOutputs
from onnxattr.running.explainers.predictions import Predictions, run_rows
from onnxattr.running.explainers.record import session_of
from onnxattr.running.finite import Case, Results, check_mode
from onnxattr.running.given.arrays import model_inputs, row_count
from onnxattr.running.given.batches import is_dataset, joined, pairs_of
from onnxattr.running.given.corners import warn_of_corners
from onnxattr.running.given.frames import in_order
from onnxattr.running.given.one_sample import joined_samples
from onnxattr.running.reason import reason_in_file
from onnxattr.running.saturation import saturation

#: What an explainer file has beside what its graph holds.
_ATTRIBUTES = ("metadata", "prepared", "seed", "baseline", "check_finite", "gaps", "spent_steps")


class Explainer(AboutModel):
    """An exported file with the ``explain`` of the method that it was exported from.

    Attributes:
        metadata: The method, its parameters and what else the file says of itself.
        seed: Seed of the noise, where the method has noise.
        gaps: The relative gap of each row of the last call, where the method is on a path; see ``relative_gap``.
        spent_steps: How many gradients each row of the last call took, where they are as many as it needed.
        baseline: The baseline, where the file takes one as an input.
        check_finite: What is done about results that are NaN or infinite.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        providers: Sequence[Any] | None = None,
        *,
        seed: int | None = None,
        baseline: Any = None,
        check_finite: str = "warn",
    ):
        """Loads an explainer.

        Args:
            path: The file.
            providers: ONNX Runtime execution providers; None for the best present.
            seed: Seed of the noise; None for the one that the method had.
            baseline: The baseline, where the file takes one as an input: a number, an array of one sample's shape or
                with a row for each sample; with several explained inputs a dict of these by their names.
            check_finite: "warn", "error" or "ignore" results that are NaN or infinite; see ``Attribution``.

        Raises:
            ModelError: If the file is missing, damaged or no explainer.
        """
        check_mode(check_finite)
        with one_door(f"{path} cannot be loaded"):
            located = read_model(path)
            proto = located.proto
            self.baseline, self.metadata = baseline, (metadata := metadata_told(path, proto))
            self.seed = seed_told(metadata) if seed is None else seed
            self.check_finite, self._providers, self._proto = check_finite, providers, proto
            self._session, self._change = session_of(located, providers, outputs_named(metadata))
            interface = ir.serde.deserialize_model(proto)
            place_tensors(interface.graph, located.folder)
            inputs = {str(value.name): value for value in interface.graph.inputs}
            check_interface(metadata, inputs, {str(value.name): value for value in interface.graph.outputs})
            interface.graph.inputs[:] = [inputs[name] for name in metadata["inputs"]]
            interface.meta[FOLDER], interface.meta[FILES] = located.folder, located.files
            rows = one_in_a_run(rows_told(metadata), inputs[metadata["target"]])
            self.prepared = prepared_of(interface, metadata, rows)
            self._file_inputs = FileInputs(metadata, self.prepared, inputs)
            self._file_outputs = FileOutputs(metadata, self.prepared)
            self._unseen_boxes = self._file_inputs.takes_corners
            may_saturate = saturation(interface.graph)
        # Of the processor that opens the file, which need not be the one that wrote it.
        for text in (self._change and self._change.seen, may_saturate, *metadata.get("limits", ())):
            if text:
                warn_caller(text)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuses parameters of the method, which are in the file's graph, and other names that nothing reads."""
        if not (name.startswith("_") or name in _ATTRIBUTES):
            raise AttributeError(
                f"{name} of an exported file is fixed: export a method made with {name}=... . Here seed, baseline and "
                "check_finite can be set."
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        parameters = said(self.metadata.get("parameters") or {}, ["seed"])
        seed = {} if self.metadata["seed"] is None else {"seed": self.seed}
        return call("Explainer", seed, self.model_text, call(self.name, parameters))

    @property
    def name(self) -> str:
        """The method's name."""
        return str(self.metadata["method"])

    @property
    def explained(self) -> tuple[str, ...]:
        """Names of what is explained, as it was asked for, in the order of the maps."""
        return self.prepared.wrt

    @property
    def per_sample(self) -> str | None:
        """Whether the baseline has a row for each sample of a call: "baseline", else None."""
        if self.one_sample:
            return None
        parts = self.baseline.values() if isinstance(self.baseline, Mapping) else [self.baseline]
        ranks = [len(dims_of(self.prepared.value(name)) or []) for name in self.prepared.wrt]
        rows = [np.shape(part) for part in parts if not isinstance(part, str) and np.ndim(part)]
        return "baseline" if any(len(shape) in ranks and shape[0] > 1 for shape in rows) else None

    @property
    def one_sample(self) -> bool:
        """Whether all of the inputs' first axis is one sample."""
        return self.prepared.rows.mixed

    def explain(self, inputs: Any, targets: Any = None, *, baselines: Any = None, full: bool = False) -> Any:
        """Explains a batch of inputs, as the method did; see ``Attribution.explain``.

        All rows are one run; every batch of a dataset is a run of its own, whose noise starts from its first row. Where
        the model takes one row in a run, so does the file: each row is then a run of its own.
        ``baselines`` stand for ``baseline`` in this call, where the file takes a baseline.

        Raises:
            ParameterError: If several rows are given at once where each is a run of its own and has noise.
            ShapeError: If an input does not fit the model or is not finite.
            TargetError: If the targets do not fit the output, or are weights where the file takes labels.
        """
        collected = self._collected(inputs, targets, full, baselines)
        return self._explanation(collected) if full else collected.as_given()

    def __call__(self, inputs: Any, targets: Any = None, *, baselines: Any = None) -> Explanation:
        """The same as an ``Explanation``, which is used like the array of its attributions; see ``explain``."""
        return self._explanation(self._collected(inputs, targets, True, baselines))

    def score(self, inputs: Any, targets: Any = None, *, baselines: Any = None) -> np.ndarray:
        """The explained score of each row, float32 (N,), from the same run as the attributions.

        Raises:
            ParameterError: If the file was written before explainers had this output, and the score is no sum of
                outputs.
        """
        if not self._file_outputs.tells_score:
            raise ParameterError("The file has no output 'score': export it again.")
        collected = Collected(self.prepared, is_dataset(inputs), True)
        self._run(inputs, targets, collected, baselines)
        return np.concatenate([part.scores for part in collected.details])

    def predict(self, inputs: Any) -> np.ndarray:
        """The model's (cut) output for each row."""
        return self._predictions.of(inputs, self.seed, self.baseline, self.check_finite)

    @cached_property
    def _predictions(self) -> Predictions:
        return Predictions(self.prepared, self._file_inputs, self._file_outputs, self._providers)

    def convergence_delta(self, inputs: Any, targets: Any = None, *, baselines: Any = None) -> np.ndarray:
        """How much the attributions of a method on a path do not add up to f(x) - f(b), (N,).

        Raises:
            ParameterError: If the method has no path.
        """
        return self._run(inputs, targets, Collected(self.prepared, False), baselines)[
            self._file_outputs.of_path("convergence_delta")
        ]

    def relative_gap(self, inputs: Any, targets: Any = None, *, baselines: Any = None) -> np.ndarray:
        """The size of the convergence delta over that of f(x) - f(b), (N,); its size alone where that is 0.

        Raises:
            ParameterError: If the method has no path, or the file was written before explainers had this output.
        """
        return self._run(inputs, targets, Collected(self.prepared, False), baselines)[
            self._file_outputs.of_path("relative_gap")
        ]

    def _collected(self, inputs: Any, targets: Any, keep: bool, baselines: Any) -> Collected:
        """The attributions; with ``keep`` also scores and inputs."""
        collected = Collected(self.prepared, is_dataset(inputs), keep)
        outputs = self._run(inputs, targets, collected, baselines)
        entries, delta = self.metadata["explained"].values(), self.metadata["convergence_delta"]
        collected.arrays = [outputs[entry["attribution"]].astype(np.float32) for entry in entries]
        if delta is not None:
            collected.deltas = [outputs[delta].astype(np.float32)]
        if self.metadata.get("relative_gap") is not None:
            collected.gaps = [outputs[self.metadata["relative_gap"]].astype(np.float32)]
            self.gaps = collected.gaps[0]
        if self.metadata.get("spent_steps") is not None:
            collected.spent = [outputs[self.metadata["spent_steps"]]]
            self.spent_steps = collected.spent[0]
        return collected

    def _explanation(self, collected: Collected) -> Explanation:
        parameters = self.metadata.get("parameters") or {}
        axes = {name: tuple(e.get("axes") or ()) for name, e in self.metadata["explained"].items()}
        # A delta without a gap is a mean over noisy copies, whose scores are not those of the inputs.
        known = collected.deltas and self.metadata.get("relative_gap", "") is not None
        if known and (total := total_of(collected, axes, parameters.get("reducer"))) is not None:
            collected.differences = [total - collected.deltas[0]]
        about = {"method": self.name, "parameters": parameters}
        return explanation_of(collected, self.one_sample, axes, about)

    def _run(
        self, inputs: Any, targets: Any, given: Collected, baselines: Any = None
    ) -> dict[str, np.ndarray]:
        """Every output by name."""
        runs, results, one_sample = [], Results(self.check_finite), self.prepared.rows.mixed
        explained = self.metadata["explained"].items()
        given.grouped = frozenset(name for name, entry in explained if entry.get("groups"))
        start, first = self.baseline if baselines is None else baselines, 0
        more = is_dataset(inputs) and not one_sample
        for x, y in pairs_of(self.prepared, inputs, targets, None):
            feeds = model_inputs(self.prepared, x)
            given.look_at(x)
            samples = 1 if one_sample else row_count(feeds)
            checked = self._file_inputs.targets(y, samples)
            place = first if more else None
            feeds = self._file_inputs.feeds(feeds, checked, samples, self.seed, start, place)
            first += samples
            self._file_inputs.check_noise(samples)
            run = dict(
                zip(
                    self._session.outputs, run_rows(self._session, self.prepared, feeds, samples), strict=True
                )
            )
            run = self._file_outputs.with_axis(run) if one_sample else run
            runs.append(list(run.values()))
            found = self._file_outputs.sorted(run)
            if self._unseen_boxes:
                warn_of_corners(found.prediction[:1])
                self._unseen_boxes = False
            results.look_at_size(found.maps)
            results.look(feeds, samples, found.maps, found.prediction, checked, found.deltas, found.score)
            if given.keep:
                given.details.append(self._file_outputs.details(feeds, checked, found, samples))
        results.say(self._reason, stacklevel=3)
        self._look_at_change()
        if more and runs:
            self._file_inputs.check_rows(start, first)
        arrays = joined_samples(runs) if one_sample else joined(runs)
        outputs = dict(zip(self._session.outputs, arrays, strict=True))
        if one_sample and not is_dataset(inputs):
            outputs = self._file_outputs.without_axis(outputs)
        for name, entry in explained:
            own = entry["attribution"]
            if name not in given.grouped:
                outputs[own] = in_order(outputs[own], (given.orders or {}).get(name))
        return outputs

    def _look_at_change(self) -> None:
        """Says once whether a file that was changed since its export gives other numbers; opening it runs nothing."""
        change, self._change = self._change, None
        if change is not None and (text := change.measured(self._session)) is not None:
            warn_caller(text)

    def _reason(self, case: Case) -> str:
        return reason_in_file(self.prepared, self._proto, case, self._providers)


def load(
    path: str | os.PathLike[str],
    providers: Sequence[Any] | None = None,
    *,
    seed: int | None = None,
    baseline: Any = None,
    check_finite: str = "warn",
) -> Explainer:
    """Loads an exported explainer; see ``Explainer``."""
    return Explainer(path, providers, seed=seed, baseline=baseline, check_finite=check_finite)
