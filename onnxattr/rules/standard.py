"""The filled rule table: importing this module registers every family of rules."""

from onnxattr.rules import (  # noqa: F401
    activation,
    columns,
    contrib,
    contrib_attention,
    contrib_decoder,
    contrib_norm,
    contrib_quantized,
    control_flow,
    conv,
    elementwise,
    iteration,
    linear,
    max_pool,
    ml,
    ml_svm,
    norm,
    pool,
    quantization,
    recurrent,
    reduce,
    roi,
    sampling,
    selection,
    shape,
    signal,
    training,
)
from onnxattr.rules.registry import STANDARD

__all__ = ["STANDARD"]
