"""The rooms of the package, in the order of CONTRIBUTING.md."""

#: From the top down: a module imports from its own room and from those after it alone.
ROOMS = (
    "cli bulk metrics inspection testing attributions converters running inputs compile scores loading decompositions "
    "autodiff session providers graph results plots files signals home errors callers moved without_sympy"
).split()
