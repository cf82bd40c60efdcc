"""What explanations cost here and elsewhere: `make bench` measures and writes docs/speed.md and docs/speed.json.

``cases`` are the networks, ``sides`` the libraries, one process each; ``race`` runs them in turn, ``plan`` says what is
measured in which order, ``report`` writes the tables.
"""
