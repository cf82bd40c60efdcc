"""What an exported file gives: which output is what, and which of them have an axis of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxattr.compile.renderings.one_sample import keeps_output
from onnxattr.errors import ParameterError
from onnxattr.loading.prepared import Prepared
from onnxattr.running.collected import Details
from onnxattr.running.explained import linear_scores
from onnxattr.running.given.targets import Targets, weights_of

#: Names of scores that are sums of outputs times targets.
_LINEAR = (None, "classification", "regression")
#: What methods on a path tell beside their attributions.
_MEASURES = ("convergence_delta", "relative_gap", "spent_steps")


@dataclass
class Found:
    """The outputs of a run.

    Attributes:
        prediction: The model's output.
        maps: The attributions, in the order of the outputs.
        deltas: The convergence deltas, if the method is on a path.
        score: The score, where the file has it as an output.
    """

    prediction: np.ndarray
    maps: list[np.ndarray]
    deltas: list[np.ndarray]
    score: np.ndarray | None


class FileOutputs:
    """The outputs of an exported file."""

    def __init__(self, about: Mapping[str, Any], prepared: Prepared):
        """Takes what the file says of itself, and the model in it."""
        self._about, self._prepared = about, prepared

    @property
    def _score(self) -> str | None:
        """The name of the output that is the score, where it is no sum of outputs."""
        output: str | None = self._about.get("score", {}).get("output")
        return output

    @property
    def tells_score(self) -> bool:
        """Whether the score is a sum of outputs or an output itself; in older files it may be neither."""
        score = self._about.get("score", {})
        return "output" in score or score.get("name") in _LINEAR

    def of_path(self, output: str) -> str:
        """The name of an output that methods on a path have.

        Raises:
            ParameterError: If the method has no path, or the file was written before explainers had this output.
        """
        if self._about["convergence_delta"] is None:
            raise ParameterError(
                f"{self._about['method']} has no path, and so no {output.replace('_', ' ')}."
            )
        if self._about.get(output) is None:
            raise ParameterError(f"The file has no output {output!r}: export it again.")
        return str(self._about[output])

    def sorted(self, run: Mapping[str, np.ndarray]) -> Found:
        """The outputs of a run by what they are."""
        found, delta = dict(run), self._about["convergence_delta"]
        prediction = found.pop(self._about["prediction"])
        deltas = [found.pop(delta)] if delta is not None else []
        others = [self._about.get(measure) for measure in _MEASURES]
        for name in (*others, *self._about.get("predictions", {}).values()):
            found.pop(name, None)
        score = found.pop(self._score or "", None)
        return Found(prediction, list(found.values()), deltas, score)

    def details(
        self, feeds: Mapping[str, np.ndarray], targets: Targets, found: Found, samples: int
    ) -> Details:
        """What is to be kept of a batch; files of before do not tell a score that is no sum of outputs: it is NaN."""
        own = {name: feeds[name] for name in self._about["inputs"]}
        if self._prepared.rows.mixed:
            own = {name: array[None] if array.ndim else array for name, array in own.items()}
        weights, score = weights_of(self._prepared, targets, found.prediction), found.score
        if score is None:
            score = linear_scores(found.prediction, weights) if self.tells_score else np.full(samples, np.nan)
        return Details(own, score.astype(np.float32), weights, found.prediction)

    def with_axis(self, run: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a file that takes one sample, with the axis of samples that others have."""
        return {name: array[None] if self._gets_axis(name) else array for name, array in run.items()}

    def without_axis(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs of one sample without the axis that ``with_axis`` gives them."""
        return {name: array[0] if self._gets_axis(name) else array for name, array in outputs.items()}

    def _gets_axis(self, output: str) -> bool:
        if output == self._about["prediction"]:
            return not keeps_output(self._prepared)
        return output not in [self._score, *(self._about.get(measure) for measure in _MEASURES)]
