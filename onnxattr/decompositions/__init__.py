"""Operators outside ai.onnx, written in operators of ai.onnx; standard.py gathers them."""
