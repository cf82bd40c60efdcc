"""What a model holds for someone who wants to explain it."""

from onnxattr.inspection.model_facts import facts
from onnxattr.inspection.overview import inspect, inspect_json, supported_operators

__all__ = ["facts", "inspect", "inspect_json", "supported_operators"]
