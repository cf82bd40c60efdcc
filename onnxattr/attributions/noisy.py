"""Methods that look at gradients at noisy copies of the input."""

from __future__ import annotations

import numpy as np

from onnxattr.attributions.base import Attribution
from onnxattr.attributions.parameter_checks import count, deviation
from onnxattr.compile.method import Finish, Method, first_moment, unbiased_variance


class _NoisyGradient(Attribution):
    """Statistics of g(x + e) with e ~ N(0, noise^2), independent per element, sample and draw.

    Args:
        nb_samples: Number of draws.
        noise: Standard deviation in input units; about a fifth of the data's range is usual. 0 for the gradient at x
            alone, of variance 0.

    Raises:
        ParameterError: If ``nb_samples`` or ``noise`` is outside its domain.
    """

    fewest = 1
    nb_samples: int = 50
    noise: float = 0.2

    def _check_parameters(self) -> None:
        self.nb_samples = count("nb_samples", self.nb_samples, self.fewest)
        self.noise = deviation("noise", self.noise)
        super()._check_parameters()

    def _sampled(self, finish: Finish, powers: tuple[int, ...], pilot: bool = False) -> Method:
        if self.noise == 0:
            return Method(finish, powers=powers)  # every draw is x itself: one stands for all
        weights = np.full(self.nb_samples, 1.0 / self.nb_samples)
        return Method(finish, weights, noise=self.noise, powers=powers, pilot=pilot)


class SmoothGrad(_NoisyGradient):
    """mean g(x + e), signed (Smilkov et al., 2017, arXiv 1706.03825)."""

    def _method(self) -> Method:
        return self._sampled(first_moment, (1,))


class SquareGrad(_NoisyGradient):
    """mean g(x + e)^2 (Hooker et al., 2019, arXiv 1806.10758)."""

    def _method(self) -> Method:
        return self._sampled(first_moment, (2,))


class VarGrad(_NoisyGradient):
    """Unbiased variance of g(x + e) (Adebayo et al., 2018, arXiv 1810.03292).

    The gradient at x is subtracted before squaring, so that a small variance around a large gradient survives float32.
    """

    fewest = 2

    def _method(self) -> Method:
        return self._sampled(unbiased_variance(self.nb_samples), (1, 2), pilot=True)
