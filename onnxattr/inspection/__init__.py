"""What a model holds for someone who wants to explain it."""

from onnxattr.inspection.model_facts import facts
from onnxattr.inspection.overview import inspect, inspect_json, supported_operators
from onnxattr.inspection.runtimes import RUNTIMES, findings

__all__ = ["RUNTIMES", "facts", "findings", "inspect", "inspect_json", "supported_operators"]
