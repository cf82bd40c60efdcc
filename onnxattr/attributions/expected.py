"""Methods that draw where paths start, and the point on each, at random."""

from __future__ import annotations

from onnxattr.attributions.from_baseline import FromBaseline
from onnxattr.attributions.parameter_checks import count, deviation
from onnxattr.compile.method import Method
from onnxattr.errors import ParameterError
from onnxattr.running.baselines.background import AskedBackground, expected
from onnxattr.running.baselines.values import Asked


class _Drawn(FromBaseline):
    """What the two methods share: ``nb_samples`` draws from ``background``.

    Args:
        nb_samples: Number of draws, each of which takes a gradient; Captum's ``n_samples``.
        background: The set of baselines; see ``FromBaseline``.
        seed: Seed of the draws, an integer from 0 to 2^31 - 2: the same seed gives the same attribution at any batch
            size and in any runtime.

    Raises:
        ParameterError: If a parameter is outside its domain, or the background set does not fit the input.
    """

    nb_samples: int = 50

    def _check_parameters(self) -> None:
        self.nb_samples = count("nb_samples", self.nb_samples)
        if self.background is None:
            raise ParameterError(
                f"{self.name} needs background=, a set of baselines: for instance 20 to 200 samples of the training "
                "data."
            )
        super()._check_parameters()


class ExpectedGradients(_Drawn):
    """mean (x - b) g(b + alpha (x - b)) over drawn members b of a set and alpha uniform between 0 and 1.

    (Erion et al., 2021, arXiv 1906.10670.) The attributions of a sample add up to f(x) minus the mean of f over the
    set, up to the error of the draws.
    """

    def _method_from(self, start: Asked | AskedBackground) -> Method:
        assert isinstance(start, AskedBackground)
        return expected(start, self.nb_samples)


class GradientShap(_Drawn):
    """mean (x' - b) g(b + alpha (x' - b)) over draws as of ``ExpectedGradients``, with x' = x + e, e ~ N(0, noise^2).

    (Lundberg and Lee, 2017, arXiv 1705.07874, as in Captum.) Without noise it is ``ExpectedGradients``.

    Args:
        noise: Standard deviation of e, in input units; Captum's ``stdevs``.
    """

    noise: float = 0.0

    def _check_parameters(self) -> None:
        self.noise = deviation("noise", self.noise)
        super()._check_parameters()

    def _method_from(self, start: Asked | AskedBackground) -> Method:
        assert isinstance(start, AskedBackground)
        return expected(start, self.nb_samples, self.noise)
