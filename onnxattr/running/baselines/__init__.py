"""Baselines: what a caller gives as one, checked, fitted to the explained values, made into rows and paths."""
