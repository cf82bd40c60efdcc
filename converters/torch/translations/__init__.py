"""Operators of PyTorch that the exporter does not write, or in a form with other numbers or gradients."""

from collections.abc import Callable
from typing import Any

from . import (
    along_axis,
    attention,
    bessel,
    counts,
    elementwise,
    experts,
    gammas,
    matrices,
    pooling,
    quantiles,
    scatters,
    tails,
)


def table(torch: Any) -> dict[Any, Callable[..., Any]]:
    """PyTorch's operator -> what writes it, for torch.onnx.export's ``custom_translation_table``."""
    aten = torch.ops.aten
    written: dict[Any, Callable[..., Any]] = {
        aten._cdist_forward.default: along_axis.distances,
        aten._grouped_mm.default: experts.grouped_product_of_torch,
        aten._linalg_slogdet.default: matrices.log_determinant,
        aten._linalg_solve_ex.default: matrices.solution,
        aten._adaptive_avg_pool3d.default: pooling.adaptive_average_pool3d,
        aten.adaptive_max_pool2d.default: pooling.adaptive_max_pool,
        aten.adaptive_max_pool3d.default: pooling.adaptive_max_pool,
        aten.avg_pool2d.default: pooling.average_pool2d,
        aten.avg_pool3d.default: pooling.average_pool3d,
        aten.copysign.Scalar: elementwise.with_sign,
        aten.copysign.Tensor: elementwise.with_sign,
        aten.cummax.default: along_axis.largest_so_far,
        aten.cummin.default: along_axis.smallest_so_far,
        aten.cumprod.default: along_axis.product_so_far,
        aten.digamma.default: gammas.digamma,
        aten.erfc.default: tails.erfc,
        aten.erfinv.default: quantiles.erfinv,
        aten.expm1.default: elementwise.expm1,
        aten.fmax.default: elementwise.largest_number,
        aten.fmin.default: elementwise.smallest_number,
        aten.hardtanh.default: elementwise.hard_tanh,
        aten.hypot.default: elementwise.hypotenuse,
        aten.index_reduce.default: scatters.index_reduced,
        aten.kthvalue.default: along_axis.kth_value,
        aten.lgamma.default: gammas.lgamma,
        aten.linalg_cholesky_ex.default: matrices.cholesky,
        aten.linalg_inv_ex.default: matrices.inverse,
        aten.linalg_solve_triangular.default: matrices.triangular_solution,
        aten.log1p.default: elementwise.log1p,
        aten.log_sigmoid.default: elementwise.log_sigmoid,
        aten.logaddexp.default: elementwise.logaddexp,
        aten.logaddexp2.default: elementwise.logaddexp2,
        aten.logcumsumexp.default: along_axis.logcumsumexp,
        aten.logdet.default: matrices.logarithm_of_determinant,
        aten.max.dim: along_axis.largest,
        aten.maximum.default: elementwise.largest,
        aten.median.dim: along_axis.median,
        aten.min.dim: along_axis.smallest,
        aten.minimum.default: elementwise.smallest,
        aten.rrelu_with_noise_functional.default: elementwise.random_leaky_relu,
        aten.scaled_dot_product_attention.default: attention.attention,
        aten.scatter.reduce: scatters.scattered_by_name,
        aten.scatter.src: scatters.scattered,
        aten.scatter_add.default: scatters.scattered_sum,
        aten.scatter_reduce.two: scatters.scatter_reduced,
        aten.searchsorted.Scalar: counts.sorted_place_of_number,
        aten.searchsorted.Tensor: counts.sorted_places,
        aten.selu.default: elementwise.selu,
        aten.sort.stable: along_axis.sorted_in_order,
        aten.squeeze.dim: along_axis.squeezed,
        aten.special_erfc.default: tails.erfc,
        aten.special_erfcx.default: tails.erfcx,
        aten.special_expm1.default: elementwise.expm1,
        aten.special_log1p.default: elementwise.log1p,
        aten.special_log_ndtr.default: tails.log_ndtr,
        aten.special_ndtri.default: quantiles.ndtri,
        aten.special_xlog1py.default: elementwise.product_with_log1p,
        aten.special_xlog1py.other_scalar: elementwise.product_with_log1p,
        aten.special_xlog1py.self_scalar: elementwise.product_with_log1p,
        aten.xlogy.Scalar_Other: elementwise.product_with_log,
        aten.xlogy.Scalar_Self: elementwise.product_with_log,
        aten.xlogy.Tensor: elementwise.product_with_log,
    }
    prims = torch.ops.prims
    written |= {
        aten.i0.default: bessel.i0,
        prims.bessel_i0.default: bessel.i0,
        prims.bessel_i0e.default: bessel.i0e,
        prims.bessel_i1.default: bessel.i1,
        prims.bessel_i1e.default: bessel.i1e,
    }
    # Hugging Face's, which importing one of its mixtures of experts makes.
    grouped = getattr(torch.ops.transformers, "grouped_mm_fallback", None)
    return written if grouped is None else written | {grouped.default: experts.grouped_product}
