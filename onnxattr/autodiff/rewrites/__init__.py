"""Rewrites: passes over a finished backward graph that make it cheaper and leave its numbers.

Rules state mathematics only. What is faster in a runtime, or can be left out, is found here: each rewrite is one
function with its pattern and replacement, registered with the reason and what it gains. They run in the order of the
imports.
"""

from onnxattr.autodiff.rewrites import pools, masks, products  # noqa: I001  the order in which they run
from onnxattr.autodiff.rewrites import blocks, convolutions, portability
from onnxattr.autodiff.rewrites import constants
from onnxattr.autodiff.rewrites.registry import REWRITES, Backward, Rewrite, chosen, rewrite

__all__ = [
    "REWRITES",
    "Backward",
    "Rewrite",
    "blocks",
    "chosen",
    "constants",
    "convolutions",
    "masks",
    "pools",
    "portability",
    "products",
    "rewrite",
]
