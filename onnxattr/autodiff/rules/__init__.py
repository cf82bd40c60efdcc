"""VJP rules, one file per family of operators; standard.py gathers them."""
