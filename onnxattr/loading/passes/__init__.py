"""The passes that prepare a model, each in a module of its own; ``pass_list.py`` lists them in order."""
