"""The filled table of decompositions: importing this module registers every family of them."""

from onnxattr.decompositions import (  # noqa: F401
    contrib,
    contrib_attention,
    contrib_branches,
    contrib_decoder,
    contrib_experts,
    contrib_norm,
    contrib_quantized,
    contrib_rotary,
    contrib_shape,
    contrib_states,
    integer_layers,
    integer_operators,
    ml,
    ml_svm,
    training,
)
from onnxattr.decompositions.registry import DECOMPOSITIONS

__all__ = ["DECOMPOSITIONS"]
