"""Class activation maps: a layer's channels, added up by what the gradient says that each is worth."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.attributions.base import Attribution
from onnxattr.attributions.cam_layer import find_layer, placement_of
from onnxattr.attributions.options import MEAN, is_integer
from onnxattr.autodiff.overrides import GUIDED
from onnxattr.compile.method import Definition, Factor, Finish, first_moment
from onnxattr.compile.placement import Placement
from onnxattr.compile.upsampling import UPSAMPLINGS
from onnxattr.errors import ParameterError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of
from onnxattr.loading.prepared import Prepared, Wrt
from onnxattr.loading.reading.source import ModelSource

VARIANTS = ("xplique", "paper")
#: Where a denominator is 0 so is its numerator.
_EPSILON = 1e-4


_MAP = """The map has the image's size and one channel: (N, H, W, 1) for channels-last images, (N, 1, H, W) for
    channels-first ones, (N, T, 1) for series."""


class _AtLayer(Attribution):
    """A method that looks at a layer.

    Args:
        model: See ``Attribution``; so are the parameters not listed here.
        output_layer: See ``Attribution``.
        batch_size: See ``Attribution``.
        operator: See ``Attribution``.
        conv_layer: The layer, as ``output_layer`` names one: its output A, with the activation that belongs to it.
            None for the last convolution of the model, nested models included.
        upsampling: How the map gets the image's size: "bicubic", equal to Xplique's, "bilinear" or "nearest", equal to
            TensorFlow's; None for a map of the layer's size.
        **options: See ``Attribution``. ``wrt`` names the input that the map is shown over, where there are several.

    Raises:
        ModelError: If there is no such layer, or the map does not fit an input.
        ParameterError: If a parameter is outside its domain.
    """

    upsamplings: tuple[str | None, ...] = (*UPSAMPLINGS, None)

    def __init__(
        self,
        model: ModelSource,
        output_layer: str | int | None = None,
        batch_size: int | None = 32,
        operator: Any = None,
        reducer: str | None = None,
        conv_layer: str | int | None = None,
        upsampling: str | None = "bicubic",
        **options: Any,
    ):
        if conv_layer is not None and not isinstance(conv_layer, str) and not is_integer(conv_layer):
            raise ParameterError(
                f"conv_layer={conv_layer!r}: expected a layer's name or index, or None for the last convolution."
            )
        self.conv_layer = conv_layer if conv_layer is None or isinstance(conv_layer, str) else int(conv_layer)
        if upsampling not in self.upsamplings:
            raise ParameterError(f"upsampling={upsampling!r}: expected one of {self.upsamplings}.")
        self.upsampling = upsampling
        super().__init__(model, output_layer, batch_size, operator, reducer, **options)

    def _explained(self) -> Wrt:
        return self._chosen

    def _chosen(self, prepared: Prepared) -> str:
        """The layer's value, or the image."""
        place = find_layer(prepared, self.conv_layer)
        #: The layer as results call it, and its value.
        self.layer, self._layer = place.name, str(place.value.name)
        return self._layer

    def _placement(self, graph: ir.Graph) -> Placement:
        given = self.options.wrt
        names = [given] if isinstance(given, str) else given
        if names is not None and not (
            isinstance(names, Sequence) and [type(name) for name in names] == [str]
        ):
            raise ParameterError(
                f"wrt={given!r}: {self.name} shows its map over one input; expected its name."
            )
        image = str(names[0]) if names else None
        return placement_of(graph, self._layer, image, self.options.channel_axis, self.upsampling)

    def _placed(self) -> tuple[Placement, list[int]]:
        """How the map lies over the image, and the layer's axes of space."""
        placement = self._placement(self.prepared.model.graph)
        rank = len(dims_of(self.prepared.value(placement.layer)) or [])
        return placement, [axis for axis in range(1, rank) if axis != placement.channel]


class _ClassActivationMap(_AtLayer):
    """A map of the layer alone."""

    def __init__(
        self,
        model: ModelSource,
        output_layer: str | int | None = None,
        batch_size: int | None = 32,
        operator: Any = None,
        conv_layer: str | int | None = None,
        upsampling: str | None = "bicubic",
        **options: Any,
    ):
        self._check_names(options)  # a reducer is none of its parameters
        super().__init__(model, output_layer, batch_size, operator, None, conv_layer, upsampling, **options)

    def _definition(self) -> Definition:
        placement, space = self._placed()
        self.prepared.asked = (self.layer,)
        return Definition(self._map(placement.channel, space), placement=placement)

    @abstractmethod
    def _map(self, channel: int, space: Sequence[int]) -> Finish:
        """The map from the layer's value A and the gradient g there, with the channel axis kept."""


class GradCAM(_ClassActivationMap):
    """relu(sum over channels of mean(g) * A) at a layer A (Selvaraju et al., 2017, arXiv 1610.02391)."""

    __doc__ = f"{__doc__}\n\n{_MAP}\n\n{_AtLayer.__doc__}"

    def _map(self, channel: int, space: Sequence[int]) -> Finish:
        return weighted_by_mean(channel, space)


class GradCAMPP(_ClassActivationMap):
    """relu(sum over channels of w * A), w from g^2 / (2 g^2 + A' g^3) * relu(g).

    (Chattopadhay et al., 2018, arXiv 1710.11063.)
    In the paper A' is the sum of A over space, and w the sum over space. With ``variant="xplique"``, the default, both
    are means, as in Xplique. The paper's factor exp(score), one positive number for a whole map, is left out.
    """

    __doc__ = f"{__doc__}\n\n{_MAP}\n\n{_AtLayer.__doc__}"

    def __init__(
        self,
        model: ModelSource,
        output_layer: str | int | None = None,
        batch_size: int | None = 32,
        operator: Any = None,
        conv_layer: str | int | None = None,
        upsampling: str | None = "bicubic",
        variant: str = "xplique",
        **options: Any,
    ):
        if variant not in VARIANTS:
            raise ParameterError(f"variant={variant!r}: expected one of {VARIANTS}.")
        self.variant = variant
        super().__init__(model, output_layer, batch_size, operator, conv_layer, upsampling, **options)

    def _map(self, channel: int, space: Sequence[int]) -> Finish:
        return weighted_by_alphas(channel, space, "ReduceMean" if self.variant == "xplique" else "ReduceSum")


class LayerCAM(_ClassActivationMap):
    """relu(sum over channels of relu(g) * A) at a layer A (Jiang et al., 2021, doi 10.1109/TIP.2021.3089943)."""

    __doc__ = f"{__doc__}\n\n{_MAP}\n\n{_AtLayer.__doc__}"

    def _map(self, channel: int, space: Sequence[int]) -> Finish:
        return weighted_by_place(channel)


class GuidedGradCAM(_AtLayer):
    """GuidedBackprop's map of the image times GradCAM's at a layer (Selvaraju et al., 2017, arXiv 1610.02391).

    The reducer is that of GuidedBackprop's map. GradCAM's gradient is the plain one.
    """

    __doc__ = f"{__doc__}\n\n{_AtLayer.__doc__}"

    upsamplings = UPSAMPLINGS
    rules = GUIDED

    def __init__(
        self,
        model: ModelSource,
        output_layer: str | int | None = None,
        batch_size: int | None = 32,
        operator: Any = None,
        reducer: str | None = MEAN,
        conv_layer: str | int | None = None,
        upsampling: str = "bicubic",
        **options: Any,
    ):
        super().__init__(
            model, output_layer, batch_size, operator, reducer, conv_layer, upsampling, **options
        )

    def _chosen(self, prepared: Prepared) -> str:
        super()._chosen(prepared)
        return str(self._placement(prepared.model.graph).image)

    def _definition(self) -> Definition:
        placement, space = self._placed()
        return Definition(first_moment, factor=Factor(weighted_by_mean(placement.channel, space), placement))


def weighted_by_mean(channel: int, space: Sequence[int]) -> Finish:
    """relu(sum_c mean(g_c) A_c)."""

    def finish(
        op: OpBuilder, a: ir.Value, baseline: ir.Value | None, moments: Sequence[ir.Value]
    ) -> ir.Value:
        weights = op.ReduceMean(moments[0], space, keepdims=1)
        return op.Relu(op.ReduceSum(op.Mul(weights, a), [channel], keepdims=1))

    return finish


def weighted_by_alphas(channel: int, space: Sequence[int], total: str) -> Finish:
    """relu(sum_c w_c A_c); alpha = g^2 / (2 g^2 + total(A) g^3), w = total(alpha relu(g)), over space."""

    def finish(
        op: OpBuilder, a: ir.Value, baseline: ir.Value | None, moments: Sequence[ir.Value]
    ) -> ir.Value:
        (g,) = moments
        square = op.Mul(g, g)
        below = op.Add(
            op.Mul(square, 2.0), op.Mul(op.Mul(square, g), op.node(total, [a, space], {"keepdims": 1}))
        )
        alphas = op.Div(square, op.Where(op.Equal(below, 0.0), _EPSILON, below))
        weights = op.node(total, [op.Mul(alphas, op.Relu(g)), space], {"keepdims": 1})
        return op.Relu(op.ReduceSum(op.Mul(weights, a), [channel], keepdims=1))

    return finish


def weighted_by_place(channel: int) -> Finish:
    """relu(sum_c relu(g_c) A_c)."""

    def finish(
        op: OpBuilder, a: ir.Value, baseline: ir.Value | None, moments: Sequence[ir.Value]
    ) -> ir.Value:
        return op.Relu(op.ReduceSum(op.Mul(op.Relu(moments[0]), a), [channel], keepdims=1))

    return finish
