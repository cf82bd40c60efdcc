"""Runs the graphs of a method: reads inputs, picks chunks, adds partial sums, looks at results. No maths."""
