"""Keras models as TensorFlow graphs: their inputs, their layers, and which tensors are whose."""
