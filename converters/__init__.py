"""Converters of other frameworks' models to ONNX; the only place that imports those frameworks."""
