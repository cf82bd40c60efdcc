"""What an exported file takes: its targets, seed and baselines beside the model's inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.compile.renderings.one_sample import keeps_output
from onnxattr.errors import ParameterError, TargetError
from onnxattr.graph.values import dims_of
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.rows.independence import PROVEN, SINGLE, UNDECIDED, Rows
from onnxattr.running.baselines.shapes import cast, check_count, fits, rows_of
from onnxattr.running.baselines.values import asked, is_function
from onnxattr.running.given.input_values import check_values
from onnxattr.running.given.one_sample import output_with_axis, targets_of_sample
from onnxattr.running.given.targets import Targets, as_targets
from onnxattr.scores.score import TargetKind


class FileInputs:
    """The inputs of an exported file."""

    def __init__(self, about: Mapping[str, Any], prepared: Prepared, inputs: Mapping[str, ir.Value]):
        """Reads what the targets are.

        Args:
            about: What the file says of itself.
            prepared: The model in the file.
            inputs: All inputs of the file by name.
        """
        self._about, self._prepared, self._inputs = about, prepared, inputs
        self._target_kind = self._kind_of_targets()

    def _kind_of_targets(self) -> TargetKind:
        """What the file takes as targets; labels stand for rows of the output's shape."""
        about, mixed = self._about, self._prepared.rows.mixed
        labels = about["target_kind"] == "labels"
        value = self._prepared.value(self._prepared.output) if labels else self._inputs[about["target"]]
        dims = dims_of(value) or []
        score = about.get("score", {})
        assert value.dtype is not None
        return TargetKind(
            dims if mixed and not keeps_output(self._prepared) else dims[1:],
            value.dtype,
            **{name: score[name] for name in TargetKind.TOLD if name in score},
        )

    @property
    def takes_corners(self) -> bool:
        """Whether the targets are boxes whose first four columns are x1, y1, x2, y2."""
        return self._target_kind.corners

    def targets(self, given: Any, samples: int) -> Targets:
        """What the caller wants explained, checked.

        Raises:
            TargetError: If it does not fit the output.
        """
        kind = self._target_kind
        if not self._prepared.rows.mixed:
            return as_targets(self._prepared, given, samples, kind)
        return targets_of_sample(self._prepared, output_with_axis(self._prepared), given, kind)

    def feeds(
        self,
        inputs: Mapping[str, np.ndarray],
        checked: Targets,
        samples: int,
        seed: int,
        baselines: Any,
        first: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Everything that the file takes.

        Args:
            inputs: The model's inputs.
            checked: What is explained.
            samples: The number of samples.
            seed: Seed of the noise.
            baselines: The baselines, where the file takes them.
            first: Of a dataset, how many samples went before; None where there are no other samples.

        Raises:
            ParameterError: If baselines are missing, or the file takes none.
            ShapeError: If an input or a baseline does not fit.
            TargetError: If the file takes labels and weights were given, or the other way round.
        """
        about, feeds = self._about, dict(inputs)
        given = checked.labels if about["target_kind"] == "labels" else checked.weights
        if given is None:
            other = "weights" if about["target_kind"] == "labels" else "labels"
            raise TargetError(
                f"The file takes {about['target_kind']} as targets; export it with target={other!r} for the others."
            )
        one_sample = self._prepared.rows.mixed and checked.weights is not None
        feeds[about["target"]] = given[0, ...] if one_sample and not keeps_output(self._prepared) else given
        if about["seed"] is not None:
            feeds[about["seed"]] = np.array(seed, np.int64)
        feeds |= self._baselines(feeds, samples, baselines, first)
        check_values(self._prepared, feeds)
        return feeds

    def to_predict(
        self, inputs: Mapping[str, np.ndarray], read: Collection[str], samples: int, seed: int, baselines: Any
    ) -> dict[str, np.ndarray]:
        """What the part of the file takes that predicts; the arguments and errors are those of ``feeds``.

        Args:
            inputs: The model's inputs.
            read: The names of what it reads.
            samples: The number of samples.
            seed: Seed of the noise.
            baselines: The baselines; None for the inputs themselves.
        """
        about, feeds = self._about, dict(inputs)
        if about["seed"] in read:
            feeds[about["seed"]] = np.array(seed, np.int64)
        entries = about["explained"].items()
        taken = {name: entry["baseline"] for name, entry in entries if entry["baseline"] in read}
        if taken and baselines is None and inputs.keys() >= taken.keys():
            feeds |= {own: inputs[name] for name, own in taken.items()}
        elif taken:
            feeds |= self._baselines(feeds, samples, baselines)
        check_values(self._prepared, feeds)
        return {name: array for name, array in feeds.items() if name in read}

    def _baselines(
        self, feeds: Mapping[str, np.ndarray], samples: int, given: Any, first: int | None = None
    ) -> dict[str, np.ndarray]:
        entries = self._about["explained"].items()
        taken = {name: entry["baseline"] for name, entry in entries if entry["baseline"] is not None}
        if not taken and given is not None:
            raise ParameterError("The file takes no baselines; export it with baseline_input=True.")
        if taken and given is None:
            raise ParameterError("The file takes its baseline as an input: load it with baseline=<array>.")
        parts = asked(given, "baseline").parts(self._prepared) if taken else {}
        return {
            own: self._rows_of_baseline(parts[name], name, self._inputs[own], feeds, samples, first)
            for name, own in taken.items()
        }

    def check_noise(self, samples: int) -> None:
        """Refuses rows that would all have the same noise.

        Raises:
            ParameterError: If each of several rows is a run of its own, with noise.
        """
        if samples > 1 and self._prepared.rows.kind == SINGLE and self._about["seed"] is not None:
            raise ParameterError(
                f"The model takes one row in each run, and {samples} were given. All would have the noise of a first "
                "row: give the rows one by one, as in [explainer.explain(row[None]) for row in rows], or use the "
                "method itself, which draws other noise for each."
            )

    def check_rows(self, given: Any, rows: int) -> None:
        """Checks, when a dataset has ended, that baselines had a row for each of its samples, or one for all.

        Raises:
            ShapeError: If they had more.
        """
        for name, entry in self._about["explained"].items():
            if entry["baseline"] is not None:
                array = np.asarray(asked(given, "baseline").parts(self._prepared)[name])
                if array.ndim == len(dims_of(self._inputs[entry["baseline"]]) or []):
                    check_count(array, rows, str(entry["baseline"]))

    def _rows_of_baseline(
        self,
        given: Any,
        name: str,
        taken: ir.Value,
        feeds: Mapping[str, np.ndarray],
        samples: int,
        first: int | None,
    ) -> np.ndarray:
        """The rows for an input of the file that takes a baseline."""
        if isinstance(given, str) or is_function(given):
            raise ParameterError(f"baseline={given!r}: the file takes numbers; give it {name!r} as an array.")
        mixed, dims = self._prepared.rows.mixed, dims_of(taken) or []
        value = ir.Value(name=name, type=taken.type, shape=ir.Shape([1, *dims] if mixed else dims))
        array = cast(given, value, str(taken.name))
        fits(array, value, name, str(taken.name))
        shape = feeds[name].shape if name in feeds else None
        own = (1, *shape) if mixed and shape is not None else shape
        part = slice(first or 0, (first or 0) + samples)
        found = rows_of(array, value, own, part, str(taken.name), more=first is not None)
        return found[0] if mixed else found


def one_in_a_run(rows: Rows, target: ir.Value) -> Rows:
    """How rows are run by a file whose targets tell whether its batch was fixed to one after the export."""
    fixed = rows.kind in (PROVEN, UNDECIDED) and (dims_of(target) or [None])[0] == 1
    return Rows(SINGLE, "the file has a fixed batch of 1") if fixed else rows
