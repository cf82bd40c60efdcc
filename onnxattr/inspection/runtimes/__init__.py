"""What runtimes other than ONNX Runtime's CPU make of a model, from tables with their versions and sources."""

from onnxattr.inspection.runtimes.findings import Finding, findings, runtime_facts, runtime_lines
from onnxattr.inspection.runtimes.tables import RUNTIMES

__all__ = ["RUNTIMES", "Finding", "findings", "runtime_facts", "runtime_lines"]
