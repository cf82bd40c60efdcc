"""The filled rule table: importing this module registers every family of rules."""

from onnxattr.autodiff.registry import STANDARD
from onnxattr.autodiff.rules import (  # noqa: F401
    activation,
    columns,
    control_flow,
    conv,
    elementwise,
    few_bits,
    integers,
    iteration,
    linear,
    max_pool,
    norm,
    pool,
    quantization,
    recurrent,
    reduce,
    resize,
    roi,
    sampling,
    scatters,
    selection,
    shape,
    signal,
)

__all__ = ["STANDARD"]
