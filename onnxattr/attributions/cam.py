"""Class activation maps: a layer's channels, added up by what the gradient says that each is worth."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar

import onnx_ir as ir

from onnxattr.attributions.base import Attribution
from onnxattr.attributions.cam_layer import find_layer, placement_of
from onnxattr.attributions.options import is_integer
from onnxattr.autodiff.overrides import GUIDED
from onnxattr.compile.method import Factor, Finish, Method, first_moment
from onnxattr.compile.placement import Placement
from onnxattr.compile.upsampling import UPSAMPLINGS
from onnxattr.errors import ParameterError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of
from onnxattr.loading.prepared import Prepared, Wrt

VARIANTS = ("xplique", "paper")
#: A denominator of 0, as Xplique has it.
_EPSILON = 1e-4


class _AtLayer(Attribution):
    """A method that looks at a layer.

    Args:
        conv_layer: The layer, as ``output_layer`` names one: its output A, with the activation that belongs to it.
            None for the last convolution of the model, nested models included.
        upsampling: How the map gets the image's size: "bicubic", equal to Xplique's, "bilinear" or "nearest", equal to
            TensorFlow's; None for a map of the layer's size.
        wrt: The input that the map is shown over, where there are several: its name.

    Raises:
        ModelError: If there is no such layer, or the map does not fit an input.
        ParameterError: If a parameter is outside its domain.
    """

    upsamplings: ClassVar[tuple[str | None, ...]] = (*UPSAMPLINGS, None)

    conv_layer: str | int | None = None
    upsampling: str | None = "bicubic"

    def _check_parameters(self) -> None:
        layer = self.conv_layer
        if layer is not None and not isinstance(layer, str):
            if not is_integer(layer):
                raise ParameterError(
                    f"conv_layer={layer!r}: expected a layer's name or index, or None for the last convolution."
                )
            self.conv_layer = int(layer)
        if self.upsampling not in self.upsamplings:
            raise ParameterError(f"upsampling={self.upsampling!r}: expected one of {self.upsamplings}.")
        super()._check_parameters()

    def _explained(self) -> Wrt:
        return self._chosen

    def _chosen(self, prepared: Prepared) -> str:
        """The layer's value, or the image."""
        place = find_layer(prepared, self.conv_layer)
        #: The layer as results call it, and its value.
        self.layer, self._layer = place.name, str(place.value.name)
        return self._layer

    def _placement(self, prepared: Prepared) -> Placement:
        given = self.wrt
        names = [given] if isinstance(given, str) else given
        if names is not None and not (
            isinstance(names, Sequence) and [type(name) for name in names] == [str]
        ):
            raise ParameterError(
                f"wrt={given!r}: {self.name} shows its map over one input; expected its name."
            )
        image = str(names[0]) if names else None
        return placement_of(prepared, self._layer, image, self.channel_axis, self.upsampling)

    def _placed(self) -> tuple[Placement, list[int]]:
        """How the map lies over the image, and the layer's axes of space."""
        placement = self._placement(self.prepared)
        rank = len(dims_of(self.prepared.value(placement.layer)) or [])
        return placement, [axis for axis in range(1, rank) if axis != placement.channel]


class _ClassActivationMap(_AtLayer):
    """A map of the layer alone.

    Args:
        upsampling: How the map gets the image's size: "bicubic", equal to Xplique's, "bilinear" or "nearest", equal to
            TensorFlow's; None for a map of the layer's size. The map has one channel: (N, H, W, 1) for channels-last
            images, (N, 1, H, W) for channels-first ones, (N, T, 1) for series.
    """

    reducer: str | None = field(default=None, init=False)

    def _method(self) -> Method:
        placement, space = self._placed()
        self.prepared.asked = (self.layer,)
        return Method(self._map(placement.channel, space), placement=placement)

    @abstractmethod
    def _map(self, channel: int, space: Sequence[int]) -> Finish:
        """The map from the layer's value A and the gradient g there, with the channel axis kept."""


class GradCAM(_ClassActivationMap):
    """relu(sum over channels of mean(g) * A) at a layer A (Selvaraju et al., 2017, arXiv 1610.02391)."""

    def _map(self, channel: int, space: Sequence[int]) -> Finish:
        return weighted_by_mean(channel, space)


class GradCAMPP(_ClassActivationMap):
    """relu(sum over channels of w * A), w from g^2 / (2 g^2 + A' g^3) * relu(g).

    (Chattopadhay et al., 2018, arXiv 1710.11063.)
    The paper's factor exp(score), one positive number for a whole map, is left out.

    Args:
        variant: "xplique": A' is the mean of A over space, and w a mean over space, as in Xplique; "paper": both are
            sums.
    """

    variant: str = "xplique"

    def _check_parameters(self) -> None:
        if self.variant not in VARIANTS:
            raise ParameterError(f"variant={self.variant!r}: expected one of {VARIANTS}.")
        super()._check_parameters()

    def _map(self, channel: int, space: Sequence[int]) -> Finish:
        return weighted_by_alphas(channel, space, "ReduceMean" if self.variant == "xplique" else "ReduceSum")


class LayerCAM(_ClassActivationMap):
    """relu(sum over channels of relu(g) * A) at a layer A (Jiang et al., 2021, doi 10.1109/TIP.2021.3089943)."""

    def _map(self, channel: int, space: Sequence[int]) -> Finish:
        return weighted_by_place(channel)


class GuidedGradCAM(_AtLayer):
    """GuidedBackprop's map of the image times GradCAM's at a layer (Selvaraju et al., 2017, arXiv 1610.02391).

    The reducer is that of GuidedBackprop's map. GradCAM's gradient is the plain one.
    """

    upsamplings = UPSAMPLINGS
    rules = GUIDED
    upsampling: str = "bicubic"

    def _chosen(self, prepared: Prepared) -> str:
        super()._chosen(prepared)
        return str(self._placement(prepared).image)

    def _method(self) -> Method:
        placement, space = self._placed()
        return Method(first_moment, factor=Factor(weighted_by_mean(placement.channel, space), placement))


def weighted_by_mean(channel: int, space: Sequence[int]) -> Finish:
    """relu(sum_c mean(g_c) A_c)."""

    def finish(
        op: OpBuilder, a: ir.Value, baseline: ir.Value | None, moments: Sequence[ir.Value]
    ) -> ir.Value:
        weights = op.ReduceMean(moments[0], space, keepdims=1)
        return op.Relu(op.ReduceSum(op.Mul(weights, a), [channel], keepdims=1))

    return finish


def weighted_by_alphas(channel: int, space: Sequence[int], total: str) -> Finish:
    """relu(sum_c w_c A_c); alpha = 1 / (2 + total(A) g), w = total(alpha relu(g)), over space."""

    def finish(
        op: OpBuilder, a: ir.Value, baseline: ir.Value | None, moments: Sequence[ir.Value]
    ) -> ir.Value:
        (g,) = moments
        # g^2 is divided out: it vanishes for a g of 1e-23, as behind a saturated softmax; g^3 overflows for 1e13.
        below = op.Add(op.Mul(g, op.node(total, [a, space], {"keepdims": 1})), 2.0)
        alphas = op.Div(1.0, op.Where(op.Equal(below, 0.0), _EPSILON, below))
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
