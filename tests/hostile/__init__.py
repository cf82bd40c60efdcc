"""Crafted and mutated files of every format that is read: opening them does nothing, and errors say what is wrong."""
