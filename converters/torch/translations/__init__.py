"""Operators of PyTorch that the exporter does not write, or in a form with other numbers or gradients."""

from collections.abc import Callable
from typing import Any

from . import along_axis, attention, elementwise, pooling, tails


def table(torch: Any) -> dict[Any, Callable[..., Any]]:
    """PyTorch's operator -> what writes it, for torch.onnx.export's ``custom_translation_table``."""
    aten = torch.ops.aten
    return {
        aten._cdist_forward.default: along_axis.distances,
        aten.adaptive_max_pool2d.default: pooling.adaptive_max_pool,
        aten.adaptive_max_pool3d.default: pooling.adaptive_max_pool,
        aten.copysign.Scalar: elementwise.with_sign,
        aten.copysign.Tensor: elementwise.with_sign,
        aten.cummax.default: along_axis.largest_so_far,
        aten.cummin.default: along_axis.smallest_so_far,
        aten.cumprod.default: along_axis.product_so_far,
        aten.erfc.default: tails.erfc,
        aten.fmax.default: elementwise.largest_number,
        aten.fmin.default: elementwise.smallest_number,
        aten.hardtanh.default: elementwise.hard_tanh,
        aten.hypot.default: elementwise.hypotenuse,
        aten.kthvalue.default: along_axis.kth_value,
        aten.log_sigmoid.default: elementwise.log_sigmoid,
        aten.logaddexp.default: elementwise.logaddexp,
        aten.logaddexp2.default: elementwise.logaddexp2,
        aten.logcumsumexp.default: along_axis.logcumsumexp,
        aten.max.dim: along_axis.largest,
        aten.maximum.default: elementwise.largest,
        aten.median.dim: along_axis.median,
        aten.min.dim: along_axis.smallest,
        aten.minimum.default: elementwise.smallest,
        aten.scaled_dot_product_attention.default: attention.attention,
        aten.special_erfc.default: tails.erfc,
        aten.special_erfcx.default: tails.erfcx,
        aten.special_log_ndtr.default: tails.log_ndtr,
    }
