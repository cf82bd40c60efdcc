"""Checks of a model before anything makes it larger: calls of functions, sizes of values, steps of Loops."""
