"""How a method is run: as one batch, as a loop inside the graph, or as a step and a finish driven from outside."""
