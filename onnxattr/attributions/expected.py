"""Methods that draw where paths start, and the point on each, at random."""

from __future__ import annotations

from typing import Any

from onnxattr.attributions.from_baseline import FromBaseline
from onnxattr.attributions.options import MEAN
from onnxattr.attributions.parameter_checks import count, deviation
from onnxattr.compile.method import Definition
from onnxattr.errors import ParameterError
from onnxattr.loading.reading.source import ModelSource
from onnxattr.running.background import AskedBackground, expected
from onnxattr.running.baselines import Asked


class _Drawn(FromBaseline):
    """What the two methods share: ``nb_samples`` draws from ``background``."""

    def __init__(
        self,
        model: ModelSource,
        output_layer: str | int | None = None,
        batch_size: int | None = 32,
        operator: Any = None,
        reducer: str | None = MEAN,
        nb_samples: int = 50,
        *,
        background: Any = None,
        **options: Any,
    ):
        self.nb_samples, self.background = count("nb_samples", nb_samples), background
        if background is None:
            raise ParameterError(
                f"{self.name} needs background=, a set of baselines: for instance 20 to 200 rows of the training data."
            )
        super().__init__(model, output_layer, batch_size, operator, reducer, **options)


class ExpectedGradients(_Drawn):
    """mean (x - b) g(b + alpha (x - b)) over drawn members b of a set and alpha uniform between 0 and 1.

    (Erion et al., 2021, arXiv 1906.10670.) The attributions of a row add up to f(x) minus the mean of f over the set,
    up to the error of the draws.

    Args:
        model: See ``Attribution``; so are the parameters not listed here.
        output_layer: See ``Attribution``.
        batch_size: See ``Attribution``.
        operator: See ``Attribution``.
        reducer: See ``Attribution``.
        nb_samples: Number of draws, each of which takes a gradient.
        background: The set of baselines; see ``FromBaseline``.
        **options: See ``Attribution``; ``seed`` fixes the draws.

    Raises:
        ParameterError: If ``nb_samples`` is below 1, or the background set does not fit the input.
    """

    def _definition_from(self, start: Asked | AskedBackground) -> Definition:
        assert isinstance(start, AskedBackground)
        return expected(start, self.nb_samples)


class GradientShap(_Drawn):
    """mean (x' - b) g(b + alpha (x' - b)) over draws as of ``ExpectedGradients``, with x' = x + e, e ~ N(0, noise^2).

    (Lundberg and Lee, 2017, arXiv 1705.07874, as in Captum.) Without noise it is ``ExpectedGradients``.

    Args:
        model: See ``Attribution``; so are the parameters not listed here.
        output_layer: See ``Attribution``.
        batch_size: See ``Attribution``.
        operator: See ``Attribution``.
        reducer: See ``Attribution``.
        nb_samples: Number of draws, each of which takes a gradient; Captum's ``n_samples``.
        noise: Standard deviation of e, in input units; Captum's ``stdevs``.
        background: The set of baselines; see ``FromBaseline``.
        **options: See ``Attribution``; ``seed`` fixes the draws.

    Raises:
        ParameterError: If a parameter is outside its domain, or the background set does not fit the input.
    """

    def __init__(
        self,
        model: ModelSource,
        output_layer: str | int | None = None,
        batch_size: int | None = 32,
        operator: Any = None,
        reducer: str | None = MEAN,
        nb_samples: int = 50,
        noise: float = 0.0,
        *,
        background: Any = None,
        **options: Any,
    ):
        self.noise = deviation("noise", noise)
        super().__init__(
            model, output_layer, batch_size, operator, reducer, nb_samples, background=background, **options
        )

    def _definition_from(self, start: Asked | AskedBackground) -> Definition:
        assert isinstance(start, AskedBackground)
        return expected(start, self.nb_samples, self.noise)
