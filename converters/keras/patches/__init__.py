"""What the converter replaces in tf2onnx, Keras and TensorFlow while it converts."""
