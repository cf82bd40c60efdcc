"""What methods share that integrate from a baseline to the input."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import field
from typing import Any

import numpy as np

from onnxattr.attributions.base import Attribution
from onnxattr.attributions.plan import Plan
from onnxattr.compile.method import Method
from onnxattr.results import Explanation
from onnxattr.running.baselines.background import AskedBackground, asked_background
from onnxattr.running.baselines.values import Asked, asked


class FromBaseline(Attribution):
    """A method on a path from a baseline b to the input x.

    ``baseline_value`` says where paths start. It is one of:

    - a number;
    - an array of one sample's shape, or one that broadcasts to it by NumPy's rules, in the model's order;
    - an array with a row for each sample, (N, ...); the rank tells it from one sample;
    - "blur", the sample blurred with a Gaussian of ``sigma`` elements along the axes of images and series, mirrored at
      the edges; "mean", the mean of each channel of the sample; "uniform", noise in the range of the sample, drawn with
      ``seed``: computed in the graph, and so part of an exported file;
    - a function that takes the inputs of a batch (a dict of them by name where the model has several) and gives any of
      the arrays above, a tuple of them or a dict by name;
    - a pandas Series, or a table with a row for each sample, matched with the model's features by name; text, in a dict
      of all columns too, is encoded as the model does;
    - a dict of these by the name of the explained value, where one that is not named starts at 0; or a tuple of these
      in the order of the explained values;
    - where values inside the model are explained, a dict of numbers, or arrays of one sample, by the names of the
      model's inputs: paths start at what the layer gives for those, other inputs being those of the sample.

    ``background`` is a set of baselines instead, over which a method averages: an array with a row for each member,
    (members, ...), a list of members, each of them a sample or a number, or a dict or tuple of these as above.
    """

    background: Any = field(default=None, kw_only=True)
    sigma = 10.0
    _asked = asked(0.0)

    def explain(
        self, inputs: Any, targets: Any = None, *, full: bool = False, baselines: Any = None, **unknown: Any
    ) -> Any:
        """Explains a batch of inputs; see ``Attribution.explain``.

        Args:
            inputs: See ``Attribution.explain``.
            targets: See ``Attribution.explain``.
            full: See ``Attribution.explain``.
            baselines: What ``baseline_value`` may be, for this call alone; None for ``baseline_value``. With a dataset
                an array with a row for each sample is taken in the dataset's order. For a method that averages over a
                background set, another set.
            **unknown: See ``Attribution.explain``.

        Raises:
            ParameterError: If ``baselines`` does not fit the model.
            ShapeError: If it has rows for another number of samples.
        """
        self._check_arguments(unknown, "baselines")
        found = self._collected(inputs, targets, full, baselines)
        return self._explanation(found) if full else found.as_given()

    def __call__(self, inputs: Any, targets: Any = None, *, baselines: Any = None) -> Explanation:
        """The same as an ``Explanation``, which is used like the array of its attributions; see ``explain``."""
        return self._explanation(self._collected(inputs, targets, True, baselines))

    def convergence_delta(self, inputs: Any, targets: Any = None, *, baselines: Any = None) -> np.ndarray:
        """How much the attributions do not add up to f(x) - f(b): sum of a sample's attributions minus that difference.

        It is the error of the quadrature or of the draws, and shrinks with more points. For a background set f(b) is
        the mean over its members. The arguments are those of ``explain``, the sum is taken before the reducer; returns
        float32 (N,), in units of the explained score.
        """
        return np.concatenate(self._collected(inputs, targets, False, baselines).deltas)

    def relative_gap(self, inputs: Any, targets: Any = None, *, baselines: Any = None) -> np.ndarray:
        """The size of the convergence delta over that of f(x) - f(b): how much of a score its map does not explain.

        0.05 means that the attributions add up to f(x) - f(b) up to 5 %. Where f(x) = f(b) it is the size of the delta
        itself, in units of the score. The arguments are those of ``explain``; returns float32 (N,).
        """
        return np.concatenate(self._collected(inputs, targets, False, baselines).gaps)

    @abstractmethod
    def _method_from(self, start: Asked | AskedBackground) -> Method:
        """The method from one baseline, or from a background set."""

    def _method(self) -> Method:
        background = self.background
        return self._method_from(
            self._asked if background is None else asked_background(background, self.prepared)
        )

    def _plan_for(self, baselines: Any) -> Plan:
        if baselines is None:
            return self._plan
        start: Asked | AskedBackground
        if self.background is None:
            start = asked(baselines, "baselines", self.sigma, feed=True)
        else:
            start = asked_background(baselines, self.prepared, "baselines")
        return self._plan.of(self._method_from(start))
