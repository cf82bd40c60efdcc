"""Methods that look at the gradient at the input itself."""

from __future__ import annotations

from typing import Any

from onnxattr.attributions.base import Attribution
from onnxattr.attributions.options import MAX
from onnxattr.autodiff.overrides import DECONVNET, GUIDED
from onnxattr.compile.method import Definition, first_moment, magnitude, times_input
from onnxattr.loading.reading.source import ModelSource


class Saliency(Attribution):
    """abs(g): how strongly each input element moves the score (Simonyan et al., 2014, arXiv 1312.6034).

    Parameters are those of ``Attribution``; the default reducer is the maximum over channels.
    """

    def __init__(
        self,
        model: ModelSource,
        output_layer: str | int | None = None,
        batch_size: int | None = 32,
        operator: Any = None,
        reducer: str | None = MAX,
        **options: Any,
    ):
        super().__init__(model, output_layer, batch_size, operator, reducer, **options)

    def _definition(self) -> Definition:
        return Definition(magnitude)


class GradientInput(Attribution):
    """x * g, signed (Shrikumar et al., 2017, arXiv 1605.01713).

    Parameters are those of ``Attribution``; by default the result has the inputs' shape.
    """

    def __init__(
        self,
        model: ModelSource,
        output_layer: str | int | None = None,
        batch_size: int | None = 64,
        operator: Any = None,
        reducer: str | None = None,
        **options: Any,
    ):
        super().__init__(model, output_layer, batch_size, operator, reducer, **options)

    def _definition(self) -> Definition:
        return Definition(times_input)


class DeconvNet(Attribution):
    """The gradient with relu(ybar) as every ReLU's backward pass (Zeiler and Fergus, 2014, arXiv 1311.2901).

    Parameters are those of ``Attribution``; by default the result has the inputs' shape.
    """

    rules = DECONVNET

    def __init__(
        self,
        model: ModelSource,
        output_layer: str | int | None = None,
        batch_size: int | None = 32,
        operator: Any = None,
        reducer: str | None = None,
        **options: Any,
    ):
        super().__init__(model, output_layer, batch_size, operator, reducer, **options)

    def _definition(self) -> Definition:
        return Definition(first_moment)


class GuidedBackprop(Attribution):
    """The gradient with relu(ybar) where x > 0 as every ReLU's backward pass.

    (Springenberg et al., 2015, arXiv 1412.6806.)
    Parameters are those of ``Attribution``.
    """

    rules = GUIDED

    def _definition(self) -> Definition:
        return Definition(first_moment)
