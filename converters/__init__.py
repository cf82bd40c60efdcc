"""Converters of other frameworks' models to ONNX; the only place that imports those frameworks.

The folder is installed as ``onnxattr.converters``. Its modules import each other by relative names, which type checkers
find here too.
"""
