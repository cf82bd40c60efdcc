"""What an exported file predicts, without its targets and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.loading.prepared import Prepared
from onnxattr.loading.reading.data_tensor import place_tensors
from onnxattr.loading.rows.independence import SINGLE
from onnxattr.running.explainers.inputs import FileInputs
from onnxattr.running.explainers.outputs import FileOutputs
from onnxattr.running.finite import Case, Results
from onnxattr.running.given.arrays import model_inputs, row_count
from onnxattr.running.given.batches import is_dataset, joined, pairs_of
from onnxattr.running.given.fitting import fitting
from onnxattr.running.given.one_sample import joined_samples
from onnxattr.running.reason import reason_in_file
from onnxattr.session import Session


class Predictions:
    """The part of a file that predicts, in a session of its own."""

    def __init__(
        self, prepared: Prepared, inputs: FileInputs, outputs: FileOutputs, providers: Sequence[Any] | None
    ):
        self._prepared, self._inputs, self._outputs = prepared, inputs, outputs
        self._part, self._providers = prepared.part([prepared.output]), providers
        self._session = Session(self._part, providers, prepared.folder)

    def of(self, inputs: Any, seed: int, baseline: Any, check_finite: str) -> np.ndarray:
        """The predictions for all rows.

        Args:
            inputs: A batch, or a dataset of them.
            seed: Seed of the noise, where the file predicts in the same run in which it explains noisy rows.
            baseline: The baseline, where it does so beside a baseline; None for the inputs themselves.
            check_finite: What happens where they are not finite; see ``Attribution``.
        """
        results = Results(check_finite)
        name, one_sample, runs = self._prepared.output, self._prepared.rows.mixed, []
        for x, _ in pairs_of(self._prepared, inputs, None, None):
            feeds = model_inputs(self._prepared, x)
            samples = 1 if one_sample else row_count(feeds)
            feeds = self._inputs.to_predict(feeds, self._session.inputs, samples, seed, baseline)
            run = dict(zip([name], run_rows(self._session, self._prepared, feeds, samples), strict=True))
            run = self._outputs.with_axis(run) if one_sample else run
            results.look(feeds, samples, [], run[name])
            runs.append([run[name]])
        results.say(self._reason, stacklevel=3)
        (found,) = joined_samples(runs) if one_sample else joined(runs)
        alone = one_sample and not is_dataset(inputs)
        return self._outputs.without_axis({name: found})[name] if alone else found

    def _reason(self, case: Case) -> str:
        model = ir.serde.deserialize_model(self._part)
        place_tensors(model.graph, self._prepared.folder)
        return reason_in_file(replace(self._prepared, model=model), self._part, case, self._providers)


def run_rows(
    session: Session, prepared: Prepared, feeds: Mapping[str, np.ndarray], samples: int
) -> list[np.ndarray]:
    """The outputs for all rows of a batch: of one run, or of one for each row where the model takes one."""
    with fitting(prepared):
        if samples == 1 or prepared.rows.kind != SINGLE:
            return session.run(feeds)
        apart = {name for name, array in feeds.items() if array.ndim and len(array) == samples}
        rows = [{n: a[[row]] if n in apart else a for n, a in feeds.items()} for row in range(samples)]
        return joined([session.run(row) for row in rows])
