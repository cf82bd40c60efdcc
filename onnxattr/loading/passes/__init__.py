"""The passes that prepare a model, each in a module of its own; ``load.py`` lists them in order."""
