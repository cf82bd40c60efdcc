"""Recurrent Keras layers as LSTM, GRU and RNN operators of ONNX."""
