"""Whether the rows of a batch are computed apart; independence.py decides, walk.py walks the graph."""
