"""What is explained: scores by name, Python functions of symbolic arrays, ONNX models."""

from onnxattr.scores import xp
from onnxattr.scores.arrays import Array
from onnxattr.scores.functions import targets
from onnxattr.scores.resolve import score_of
from onnxattr.scores.score import LINEAR, Score, TargetKind
from onnxattr.scores.tasks import Tasks

__all__ = ["LINEAR", "Array", "Score", "TargetKind", "Tasks", "score_of", "targets", "xp"]
