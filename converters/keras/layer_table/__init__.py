"""The layer table of a converted model, and the values that it names."""
