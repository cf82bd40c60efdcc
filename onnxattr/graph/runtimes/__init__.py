"""What runtimes other than ONNX Runtime's CPU make of a model, from tables with their versions and sources."""

from onnxattr.graph.runtimes.findings import Finding, findings_in, known_faults
from onnxattr.graph.runtimes.tables import RUNTIMES, WHAT_HAPPENS, table_of

__all__ = ["RUNTIMES", "WHAT_HAPPENS", "Finding", "findings_in", "known_faults", "table_of"]
