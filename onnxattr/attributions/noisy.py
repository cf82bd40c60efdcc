"""Methods that look at gradients at noisy copies of the input."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxattr.attributions.base import Attribution
from onnxattr.attributions.options import MEAN
from onnxattr.attributions.parameter_checks import count, deviation
from onnxattr.compile.method import Definition, Finish, first_moment, unbiased_variance
from onnxattr.loading.reading.source import ModelSource


class _NoisyGradient(Attribution):
    """Statistics of g(x + e) with e ~ N(0, noise^2), independent per element, row and draw.

    Args:
        model: See ``Attribution``; so are the parameters not listed here.
        output_layer: See ``Attribution``.
        batch_size: See ``Attribution``.
        operator: See ``Attribution``.
        reducer: See ``Attribution``.
        nb_samples: Number of draws.
        noise: Standard deviation in input units; about a fifth of the data's range is usual. 0 for the gradient at x
            alone, of variance 0.
        **options: See ``Attribution``; ``seed`` fixes the draws.

    Raises:
        ParameterError: If ``nb_samples`` or ``noise`` is outside its domain.
    """

    fewest = 1

    def __init__(
        self,
        model: ModelSource,
        output_layer: str | int | None = None,
        batch_size: int | None = 32,
        operator: Any = None,
        reducer: str | None = MEAN,
        nb_samples: int = 50,
        noise: float = 0.2,
        **options: Any,
    ):
        self.nb_samples = count("nb_samples", nb_samples, self.fewest)
        self.noise = deviation("noise", noise)
        super().__init__(model, output_layer, batch_size, operator, reducer, **options)

    def _sampled(self, finish: Finish, powers: tuple[int, ...], pilot: bool = False) -> Definition:
        if self.noise == 0:
            return Definition(finish, powers=powers)  # every draw is x itself: one stands for all
        weights = np.full(self.nb_samples, 1.0 / self.nb_samples)
        return Definition(finish, weights, noise=self.noise, powers=powers, pilot=pilot)


class SmoothGrad(_NoisyGradient):
    """mean g(x + e), signed (Smilkov et al., 2017, arXiv 1706.03825)."""

    __doc__ = f"{__doc__}\n\n{_NoisyGradient.__doc__}"

    def _definition(self) -> Definition:
        return self._sampled(first_moment, (1,))


class SquareGrad(_NoisyGradient):
    """mean g(x + e)^2 (Hooker et al., 2019, arXiv 1806.10758)."""

    __doc__ = f"{__doc__}\n\n{_NoisyGradient.__doc__}"

    def _definition(self) -> Definition:
        return self._sampled(first_moment, (2,))


class VarGrad(_NoisyGradient):
    """Unbiased variance of g(x + e) (Adebayo et al., 2018, arXiv 1810.03292).

    The gradient at x is subtracted before squaring, so that a small variance around a large gradient survives float32.
    """

    __doc__ = f"{__doc__}\n\n{_NoisyGradient.__doc__}"
    fewest = 2

    def _definition(self) -> Definition:
        return self._sampled(unbiased_variance(self.nb_samples), (1, 2), pilot=True)
