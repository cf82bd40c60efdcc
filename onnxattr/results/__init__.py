"""What a method found: attributions that know what they are of, how they look, and how they are kept in a file."""

from onnxattr.results.explanation import Explanation

__all__ = ["Explanation"]
