"""Metrics of explanations: are they faithful, stable, simple, and do they look at the model at all?

A metric is made of a model, inputs and targets, and called with explanations (``takes == "maps"``) or with the method
itself (``takes == "method"``). ``better`` says which numbers are the better ones, ``paper`` where it comes from,
``passes`` and ``explanations`` what one evaluation costs.
"""

from onnxattr.metrics.average import AverageDropMetric, AverageGainMetric, AverageIncreaseMetric
from onnxattr.metrics.causal import Deletion, Insertion
from onnxattr.metrics.concentration import Complexity, Sparseness
from onnxattr.metrics.control_maps import controls
from onnxattr.metrics.evaluation import Evaluation, evaluate
from onnxattr.metrics.fidelity import Infidelity, MuFidelity
from onnxattr.metrics.randomization import (
    ModelRandomizationMetric,
    ModelRandomizationStrategy,
    ProgressiveLayerRandomization,
    RandomLogitMetric,
)
from onnxattr.metrics.stability import AverageStability, MaxSensitivity

__all__ = [
    "AverageDropMetric",
    "AverageGainMetric",
    "AverageIncreaseMetric",
    "AverageStability",
    "Complexity",
    "Deletion",
    "Evaluation",
    "Infidelity",
    "Insertion",
    "MaxSensitivity",
    "ModelRandomizationMetric",
    "ModelRandomizationStrategy",
    "MuFidelity",
    "ProgressiveLayerRandomization",
    "RandomLogitMetric",
    "Sparseness",
    "controls",
    "evaluate",
]
