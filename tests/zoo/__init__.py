"""Keras models that together use every layer and activation that the converter is expected to handle.

Weights are random, and the statistics of normalisations are moved off 0 and 1 so that a wrong fold cannot hide.
`CASES` maps a name to a `Case`; keras.applications are among them, marked slow.
"""

from zoo.cases import CASES, Case

# isort: off
# Importing a family adds its models; this is their order in CASES.
from zoo import (  # noqa: F401
    dense,
    convolutions,
    recurrent,
    text_and_attention,
    structure,
    activations,
    layers,
    precisions,
    applications,
)
from zoo.structure import Residual

__all__ = ["CASES", "Case", "Residual"]
