"""What a model holds for someone who wants to explain it."""

from onnxattr.inspection.overview import inspect, supported_operators

__all__ = ["inspect", "supported_operators"]
