"""Methods that look at the gradient at the input itself."""

from __future__ import annotations

from onnxattr.attributions.base import Attribution
from onnxattr.attributions.options import MAX
from onnxattr.autodiff.overrides import DECONVNET, GUIDED
from onnxattr.compile.method import Method, first_moment, magnitude, times_input


class Saliency(Attribution):
    """abs(g): how strongly each input element moves the score (Simonyan et al., 2014, arXiv 1312.6034).

    The default reducer is the maximum over channels.
    """

    reducer: str | None = MAX

    def _method(self) -> Method:
        return Method(magnitude)


class GradientInput(Attribution):
    """x * g, signed (Shrikumar et al., 2017, arXiv 1605.01713).

    By default the result has the inputs' shape.
    """

    batch_size: int | None = 64
    reducer: str | None = None

    def _method(self) -> Method:
        return Method(times_input)


class DeconvNet(Attribution):
    """The gradient with relu(ybar) as every ReLU's backward pass (Zeiler and Fergus, 2014, arXiv 1311.2901).

    By default the result has the inputs' shape.
    """

    rules = DECONVNET
    reducer: str | None = None

    def _method(self) -> Method:
        return Method(first_moment)


class GuidedBackprop(Attribution):
    """The gradient with relu(ybar) where x > 0 as every ReLU's backward pass.

    (Springenberg et al., 2015, arXiv 1412.6806.)
    """

    rules = GUIDED

    def _method(self) -> Method:
        return Method(first_moment)
