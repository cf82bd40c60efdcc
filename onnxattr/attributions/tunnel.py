"""Statistics of a method's attributions at noisy copies of the input."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxattr.attributions.base import Attribution
from onnxattr.attributions.options import Options, check_options
from onnxattr.attributions.parameter_checks import count, deviation
from onnxattr.attributions.plan import Plan
from onnxattr.compile.method import Method, first_moment, unbiased_variance
from onnxattr.compile.renderings.noisy_values import noisy_values, with_inputs
from onnxattr.compile.renderings.tunnel import TunnelRequest
from onnxattr.errors import ParameterError
from onnxattr.results.spelled import call
from onnxattr.running.runs import Feeds
from onnxattr.running.sharing import SharingDriver

KINDS = ("mean", "square", "variance")
NOISE_KINDS = ("absolute", "relative")


class NoiseTunnel(Attribution):
    """The mean, the mean square or the variance of a method's attributions at x + e, e ~ N(0, noise^2).

    The method is asked for its whole result, reducer included, at each noisy copy. Around a gradient without a reducer
    the three are SmoothGrad, SquareGrad and VarGrad, with the same draws for a seed. Noise is added to the inputs that
    are explained; to the float inputs before a value inside the model that is, such as a layer; and to that value where
    no float input leads there, as to an embedding. The predicted class is that of x itself.

    Args:
        method: Any method, set up on its model.
        nb_samples: Number of draws.
        noise: Standard deviation of the noise; 0 for x alone.
        kind: "mean", "square" (the mean of the squares) or "variance" (unbiased; the attribution at x is subtracted
            first, so that a small variance around a large attribution survives float32).
        noise_kind: What ``noise`` counts: "absolute" input units, or "relative": a share of the range, maximum minus
            minimum, of each sample's values.
        seed: Seed of the noise, that of a noisy method inside included. None for that of the method.
        progress: See ``Attribution``; None for that of the method.

    Raises:
        ParameterError: If a parameter is outside its domain.
    """

    def __init__(
        self,
        method: Attribution,
        nb_samples: int = 50,
        noise: float = 0.2,
        kind: str = "mean",
        *,
        noise_kind: str = "absolute",
        seed: int | None = None,
        progress: bool | None = None,
    ):
        if not isinstance(method, Attribution):
            raise ParameterError(
                f"method={method!r}: expected a method on a model, such as NoiseTunnel(GradCAM('model.onnx'))."
            )
        self.method = method
        self.nb_samples, self.noise, self.kind, self.noise_kind = nb_samples, noise, kind, noise_kind
        self.options = replace(
            method.options,
            seed=method.options.seed if seed is None else seed,
            progress=method.options.progress if progress is None else progress,
        )
        self._check_own()
        check_options(self)
        self.prepared, self._score, self._made_of = method.prepared, method._score, method._made_of
        self.batch_size, self.reducer = method.batch_size, method.reducer
        self.operator, self.output_layer = method.operator, method.output_layer
        self._plan = self._planned()

    @property
    def files_read(self) -> tuple[Path, ...]:
        """Those of the method inside."""
        return self.method.files_read

    def __repr__(self) -> str:
        parameters = ("nb_samples", "noise", "kind", "noise_kind", "seed")
        return call(self.name, {name: getattr(self, name) for name in parameters}, repr(self.method))

    def convergence_delta(self, inputs: Any, targets: Any = None) -> np.ndarray:
        """How much the attributions do not add up, for a method on a path.

        For ``kind="mean"`` the mean over the draws of the method's deltas: the sum of a sample's mean attributions
        minus the mean of f(x + e) - f(b). Squares and variances add up to nothing: for them that of the method at x.

        Raises:
            ParameterError: If the method has no path.
        """
        if not self._plan.request.has_delta:
            if not hasattr(self.method, "convergence_delta"):
                raise ParameterError(f"{self.method.name} has no path, and so no convergence delta.")
            return np.asarray(self.method.convergence_delta(inputs, targets))
        return np.concatenate(self._collected(inputs, targets, False).deltas)

    def _with_preprocessing(self) -> NoiseTunnel:
        options = {name: getattr(self, name) for name in ("noise_kind", "seed", "progress")}
        return NoiseTunnel(self.method.for_photos(), self.nb_samples, self.noise, self.kind, **options)

    def _check_own(self) -> None:
        fewest = 2 if self.kind == "variance" else 1
        if self.kind not in KINDS:
            raise ParameterError(f"kind={self.kind!r}: expected one of {KINDS}.")
        if self.noise_kind not in NOISE_KINDS:
            raise ParameterError(f"noise_kind={self.noise_kind!r}: expected one of {NOISE_KINDS}.")
        self.nb_samples = count("nb_samples", self.nb_samples, fewest)
        self.noise = deviation("noise", self.noise)
        refinement = self.method._plan.request.method.refinement
        if refinement is not None and not refinement.adaptive:
            raise ParameterError(
                f"{self.method.name} with a tolerance and points='uniform' adds points while explain() runs, which the "
                "graph around it cannot do: give the method points='adaptive', or a fixed number of steps and no "
                "tolerance."
            )
        if any(groups is not None and groups.per_sample for groups in self.method._plan.request.map_groups):
            raise ParameterError(
                f"{self.method.name} has a feature_mask with a row for each sample, which the graph of a tunnel cannot "
                "take. Give it one mask for all samples."
            )
        if self.noise == 0 and self.method._plan.request.seeded:
            raise ParameterError(
                f"noise=0: the tunnel would add no noise to that of {self.method.name}; use {self.method.name} "
                f"without a tunnel."
            )

    def _method(self) -> Method:
        finish = unbiased_variance(self.nb_samples) if self.kind == "variance" else first_moment
        powers = {"mean": (1,), "square": (2,), "variance": (1, 2)}[self.kind]
        if self.noise == 0:
            return Method(finish, powers=powers)  # every draw is x itself: one stands for all
        weights = np.full(self.nb_samples, 1.0 / self.nb_samples)
        return Method(
            finish,
            weights,
            noise=self.noise,
            powers=powers,
            pilot=self.kind == "variance",
            relative=self.noise_kind == "relative",
        )

    def _planned(self) -> Plan:
        inner = self.method._plan
        if self.prepared is not self.method.prepared:
            method = copy.copy(self.method)
            method.prepared = self.prepared
            inner = method._planned()
        return _TunnelPlan(inner, self._method(), self.batch_size, self.options, self.kind == "mean")

    def _parameters(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("nb_samples", "noise", "kind", "noise_kind")}
        inner = {"method": self.method.name, "parameters": self.method._parameters()}
        return {"method": inner, **own, "seed": self.seed}


class _TunnelPlan(Plan):
    """The plan of a tunnel, made again whenever that of the method inside is."""

    def __init__(self, inner: Plan, method: Method, batch_size: int | None, options: Options, mean: bool):
        self._inner, self._mean = inner, mean
        super().__init__(inner.prepared, method, None, batch_size, options)

    def _make(self) -> None:
        inner = self._seen = self._inner.request
        self.misfit = self._inner.misfit
        noisy = noisy_values(inner.prepared)
        self.request = TunnelRequest(
            replace(inner.prepared, wrt=noisy, asked=noisy),
            self._method,
            None,
            inner.channel_axes,
            inner.relu_policy,
            score=inner.score,
            share=inner.share,
            inner=replace(inner, prepared=with_inputs(inner.prepared, noisy)),
            inner_rows=self._inner.driver.chunk,
            with_delta=self._mean and inner.has_delta,
        )
        self.driver = SharingDriver(
            self.request, self._batch_size, self._options.seed, self._options.providers
        )

    @property
    def per_sample(self) -> str | None:
        """As of the plan of the method inside."""
        return self._inner.per_sample

    def decide(self, feeds: Feeds | None, stacklevel: int) -> None:
        """Finds out whether samples are independent, as the plan of the method does."""
        self._inner.decide(feeds, stacklevel + 1)
        if self._inner.request is not self._seen:
            self._make()

    def baselines(self, feeds: Feeds, rows: int, first_row: int, dataset: bool) -> Feeds:
        """The baselines of the method inside that come from outside the graph: those of x itself."""
        return self._inner.baselines(feeds, rows, first_row, dataset)

    def check_baselines(self, rows: int) -> None:
        """Checks that a dataset had a sample for every row of the baselines."""
        self._inner.check_baselines(rows)
