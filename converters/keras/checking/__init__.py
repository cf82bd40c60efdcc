"""The converted model compared with the Keras model that it came from."""
