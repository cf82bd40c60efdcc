"""Every backend node test of onnx, differentiated: see report.py."""
