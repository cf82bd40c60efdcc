"""Looks at results: samples with NaN or infinite attributions or predictions are named in one warning or error."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from onnxattr.errors import NonFiniteError, NonFiniteWarning, ParameterError
from onnxattr.running.given.targets import Targets

CHECKS = ("warn", "error", "ignore")
_LISTED = 5
#: Below this numbers of float16, which are multiples of 2**-24 there, may be off by 1 %.
_SMALL = np.float16(100 * 2.0**-24)


def check_mode(mode: str) -> None:
    """Checks the parameter ``check_finite``.

    Raises:
        ParameterError: If it is none of its values.
    """
    if mode not in CHECKS:
        raise ParameterError(f"check_finite={mode!r}: expected one of {CHECKS}.")


@dataclass
class Case:
    """A sample whose result is not finite.

    Attributes:
        feeds: Its feeds.
        targets: Its targets.
        row: Its position.
        in_prediction: Whether the prediction is not finite.
        in_score: Whether nothing but the score is not.
    """

    feeds: dict[str, np.ndarray]
    targets: Targets | None
    row: int
    in_prediction: bool
    in_score: bool = False


@dataclass
class Results:
    """What is not finite in the results of one call, over all batches.

    Attributes:
        mode: "warn", "error" or "ignore".
        rows: Number of rows seen.
        maps: Rows whose attributions are not finite.
        predictions: Rows whose predictions are not finite.
        deltas: Rows whose convergence deltas are not finite.
        scores: Rows whose scores are not finite.
        small: Rows whose attributions are 0, or too small for the float16 that they were computed in.
        guessed: Rows whose predicted class was chosen among scores that are not finite.
        first: The first row whose prediction is not finite, else the first of all.
    """

    mode: str
    rows: int = 0
    maps: list[int] = field(default_factory=list)
    predictions: list[int] = field(default_factory=list)
    deltas: list[int] = field(default_factory=list)
    scores: list[int] = field(default_factory=list)
    small: list[int] = field(default_factory=list)
    guessed: list[int] = field(default_factory=list)
    first: Case | None = None

    def look(
        self,
        feeds: Mapping[str, np.ndarray],
        rows: int,
        maps: Sequence[np.ndarray],
        prediction: np.ndarray | None,
        targets: Targets | None = None,
        deltas: Sequence[np.ndarray] = (),
        scores: np.ndarray | None = None,
        predict: Callable[[], np.ndarray] | None = None,
    ) -> None:
        """Looks at the results of the next batch; ``prediction`` and ``scores`` are None where not computed.

        ``predict`` gives a prediction that was not computed; it is asked for where another result is not finite.
        """
        if self.mode != "ignore":
            bad_maps = sorted({row for array in maps for row in _bad_samples(array)})
            bad_deltas = sorted({row for array in deltas for row in _bad_samples(array)})
            self.maps += [self.rows + row for row in bad_maps]
            self.deltas += [self.rows + row for row in bad_deltas]
            bad_scores = [] if scores is None else _bad_samples(scores)
            self.scores += [self.rows + row for row in bad_scores]
            in_maps = {*bad_maps, *bad_deltas}
            bad_maps = sorted({*in_maps, *bad_scores})
            if prediction is None and predict is not None and bad_maps:
                prediction = predict()
            bad = [] if prediction is None else _bad_samples(prediction)
            self.predictions += [self.rows + row for row in bad]
            if targets is not None and targets.labels is not None:
                labels = targets.labels
                self.guessed += [self.rows + row for row in bad if row < len(labels) and labels[row] < 0]
            if (bad and not (self.first and self.first.in_prediction)) or (bad_maps and self.first is None):
                row = min(bad or bad_maps)
                part = slice(row, row + 1)
                own = targets and targets.part(part)
                # A baseline may have one row for all samples.
                fed = {name: a[part] if a.shape[:1] == (rows,) else a for name, a in feeds.items()}
                self.first = Case(fed, own, self.rows + row, row in bad, row not in {*bad, *in_maps})
        self.rows += rows

    def look_at_size(self, maps: Sequence[np.ndarray]) -> None:
        """Looks at the attributions of the next batch in the type that they were computed in, before ``look``."""
        if self.mode == "ignore" or not maps or any(array.dtype != np.float16 for array in maps):
            return
        largest = [np.abs(array).reshape(len(array), -1).max(axis=1, initial=0) for array in maps]
        self.small += (self.rows + np.flatnonzero(np.max(largest, axis=0) < _SMALL)).tolist()

    def say(self, why: Callable[[Case], str], stacklevel: int) -> None:
        """Warns, or raises, if something was not finite; only then is ``why`` asked for the reason.

        Attributions that are too small for their type get a warning of their own.

        Raises:
            NonFiniteError: With ``check_finite="error"``.
        """
        if self.small:
            warnings.warn(
                f"The attributions of {_samples(self.small)} are 0 or below {_SMALL:.0e}, where float16 may be off "
                "by 1 % or more. Pass precision='float32' to compute them in float32.",
                stacklevel=stacklevel + 1,
            )
        if self.first is None:
            return
        text = f"{self._which()} {why(self.first)}"
        if self.guessed:
            text += (
                f" The predicted class of {_samples(self.guessed)} is a guess, because scores that are NaN or "
                f"infinite cannot be compared. Give targets to say what is explained."
            )
        if self.mode == "error":
            raise NonFiniteError(text)
        warnings.warn(text, NonFiniteWarning, stacklevel=stacklevel + 1)

    def _which(self) -> str:
        kinds = (
            ("the predictions", self.predictions),
            ("the attributions", self.maps),
            ("the convergence deltas", self.deltas),
            ("the scores", self.scores),
        )
        told = " and ".join(f"{kind} of {_samples(rows)}" for kind, rows in kinds if rows)
        number = len({*self.predictions, *self.maps, *self.deltas, *self.scores})
        return (
            f"{number} of {self.rows} samples have a result that is not finite: {told} are NaN or infinite."
        )


def _bad_samples(array: np.ndarray) -> list[int]:
    """The samples in which some number is not finite."""
    finite = np.isfinite(array)
    if finite.all():
        return []
    return np.flatnonzero(~finite.reshape(len(array), -1).all(axis=1)).tolist()


def _samples(rows: Sequence[int]) -> str:
    listed = ", ".join(map(str, rows[:_LISTED]))
    return (
        f"sample {listed}" if len(rows) == 1 else f"samples {listed}{', ...' if len(rows) > _LISTED else ''}"
    )
