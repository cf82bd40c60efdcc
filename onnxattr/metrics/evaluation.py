"""Methods times metrics: the numbers of each sample, what they cost, and which differences are more than noise."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxattr.attributions.base import Attribution
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.files import AnyPath, whole_file
from onnxattr.metrics.base import Metric
from onnxattr.metrics.causal import CausalFidelity
from onnxattr.metrics.maps import as_maps

#: Paired differences within so many standard errors are noise.
_ERRORS = 2.0


@dataclass
class Curve:
    """The scores of each sample as features change: shares of the features, (S + 1,), and scores, (N, S + 1)."""

    shares: np.ndarray
    scores: np.ndarray


@dataclass
class Evaluation:
    """The result of ``evaluate``.

    Attributes:
        methods: The names of the methods, controls included.
        metrics: The metrics by name.
        scores: By metric and method the number of each sample, (N,); a method that a metric cannot be called with has
            no entry.
        seconds: How long a method took to explain all samples.
        gradients: How many gradients that took.
        curves: By metric and method the curves of ``Deletion`` and ``Insertion``.
        samples: What each sample is called, and what is explained of it: the name of a class, or a label; empty where
            that is not known.
    """

    methods: list[str] = field(default_factory=list)
    metrics: dict[str, Metric] = field(default_factory=dict)
    scores: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    gradients: dict[str, int] = field(default_factory=dict)
    curves: dict[str, dict[str, Curve]] = field(default_factory=dict)
    samples: list[tuple[str, str]] = field(default_factory=list)

    def best(self, metric: str) -> list[str]:
        """The best method of a metric, and those that are not distinguishable from it.

        The latter are those whose mean paired difference from it, sample by sample, is within two standard errors.
        """
        scores = self.scores[metric]
        if not scores or not self.metrics[metric].better:
            return []
        sign = 1 if self.metrics[metric].better == "lower" else -1
        first = min(scores, key=lambda method: sign * float(scores[method].mean()))
        near = [m for m in scores if m != first and _alike(scores[m], scores[first])]
        return [first, *sorted(near, key=lambda method: sign * float(scores[method].mean()))]

    def table(self) -> str:
        """Aligned text: the mean and its standard error of each metric, seconds and gradients for all samples."""
        head = ["method", *self.metrics, "seconds", "gradients"]
        better = ["", *(f"{m.better} is better" if m.better else "" for m in self.metrics.values()), "", ""]
        rows = [
            [
                method,
                *(_mean_and_error(self.scores[name].get(method)) for name in self.metrics),
                f"{self.seconds[method]:.2f}" if method in self.seconds else "-",
                str(self.gradients.get(method, "-")),
            ]
            for method in self.methods
        ]
        widths = [max(len(row[i]) for row in (head, better, *rows)) for i in range(len(head))]
        lines = [head, better, ["-" * width for width in widths], *rows]
        text = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([*text, "", *self.verdicts()])

    def verdicts(self) -> list[str]:
        """A sentence for each metric: which method is the best, and which are not distinguishable from it."""
        sentences = []
        for name in self.metrics:
            found = self.best(name)
            if not found:
                continue
            alike = f"; not distinguishable from {', '.join(found[1:])}" if found[1:] else ""
            sentences.append(f"{name}: {found[0]} is the best{alike}.")
        if sentences:
            sentences.append(
                "Numbers are means over samples and their standard errors. Not distinguishable: the paired difference "
                "is within two standard errors."
            )
        return sentences

    def write(self, path: AnyPath) -> None:
        """Writes the table, as JSON with the numbers of each sample if the name ends in .json, else as CSV.

        Raises:
            ParameterError: If the file cannot be written.
        """
        as_json = str(path).lower().endswith(".json")
        with whole_file(path) as file:
            file.write((self._json() if as_json else self._csv()).encode())

    def _csv(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = [column for name in self.metrics for column in (name, f"{name} standard error")]
        writer.writerow(["method", *columns, "seconds", "gradients"])
        for method in self.methods:
            numbers: list[Any] = []
            for name in self.metrics:
                found = self.scores[name].get(method)
                numbers += ["", ""] if found is None else [float(found.mean()), _error(found)]
            writer.writerow([method, *numbers, self.seconds.get(method, ""), self.gradients.get(method, "")])
        return text.getvalue()

    def _json(self) -> str:
        return json.dumps(
            {
                "metrics": {
                    name: {"better": metric.better, "paper": metric.paper, "best": self.best(name)}
                    for name, metric in self.metrics.items()
                },
                "methods": {
                    method: {
                        "scores": {
                            name: found[method].tolist()
                            for name, found in self.scores.items()
                            if method in found
                        },
                        "seconds": self.seconds.get(method),
                        "gradients": self.gradients.get(method),
                    }
                    for method in self.methods
                },
            }
            | ({"samples": [{"sample": s, "target": t} for s, t in self.samples]} if self.samples else {}),
            indent=1,
        )


def evaluate(
    methods: Mapping[str, Any],
    inputs: Any,
    targets: Any,
    metrics: Sequence[Metric],
) -> Evaluation:
    """Explains inputs by some methods and measures the explanations.

    Args:
        methods: By name a method, or maps (N, ...) that are there already.
        inputs: What ``explain`` takes.
        targets: What ``explain`` takes. None lets each metric and each method take the class predicted.
        metrics: Metrics made for the same inputs and targets.

    Raises:
        NonFiniteError: If a map or a score is not finite.
        ParameterError: If there is no method, or a metric twice.
        ShapeError: If maps do not fit the inputs.
    """
    names = [metric.name for metric in metrics]
    if not methods or not metrics or len(set(names)) < len(names):
        raise ParameterError(
            f"methods={list(methods)}, metrics={names}: expected at least one of each, none twice."
        )
    result = Evaluation(list(methods), dict(zip(names, metrics, strict=True)))
    result.scores = {name: {} for name in names}
    for method, given in methods.items():
        maps = given
        if isinstance(given, Attribution):
            start = time.perf_counter()
            maps = given.explain(inputs, targets)
            result.seconds[method] = time.perf_counter() - start
            result.gradients[method] = given._plan.driver.work(len(maps))
        for name, metric in result.metrics.items():
            if metric.takes == "method" and not isinstance(given, Attribution):
                continue
            try:
                _measure(result, name, method, given if metric.takes == "method" else maps)
            except ShapeError as error:
                raise ShapeError(f"{name} of {method}: {error}") from error
    return result


def _measure(result: Evaluation, name: str, method: str, given: Any) -> None:
    metric = result.metrics[name]
    if isinstance(metric, CausalFidelity):
        counts, scores = metric.curves(given)
        share = metric.max_percentage_perturbed * counts / counts[-1]
        result.curves.setdefault(name, {})[method] = Curve(share, scores)
        result.scores[name][method] = (scores[:, :-1] + scores[:, 1:]).mean(axis=1) / 2
    else:
        result.scores[name][method] = metric.of_samples(given if metric.takes == "method" else as_maps(given))


def _error(numbers: np.ndarray) -> float:
    """The standard error of a mean."""
    return float(numbers.std(ddof=1) / np.sqrt(len(numbers))) if len(numbers) > 1 else float("nan")


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the mean difference of paired numbers is within the noise; one sample tells nothing apart."""
    return len(a) < 2 or bool(abs(float((a - b).mean())) <= _ERRORS * _error(a - b))


def _mean_and_error(numbers: np.ndarray | None) -> str:
    if numbers is None:
        return "-"
    error = f" ± {_error(numbers):.2g}" if len(numbers) > 1 else ""
    return f"{numbers.mean():.4g}{error}"
