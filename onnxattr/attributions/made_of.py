"""The object of a framework that a method was made of: an explanation is that of its weights at that time."""

from __future__ import annotations

from onnxattr.callers import warn_caller
from onnxattr.loading.reading.source import ModelSource, converter, framework_of


class MadeOf:
    """What a method was made of; says once that it has changed since."""

    def __init__(self, model: ModelSource):
        """Looks at the model's numbers, if it is an object of Keras, PyTorch or scikit-learn."""
        framework = framework_of(model)
        self._kind = type(model).__name__
        self._changed = None if framework is None else converter("changed").watch(model, framework)

    def look(self, method: str) -> None:
        """Warns if the model has been trained, fitted or set otherwise since the method was made.

        Args:
            method: The method's name.
        """
        if self._changed is not None and self._changed():
            self._changed = None
            warn_caller(
                f"The {self._kind} has changed since this {method} was made of it: predictions and maps are those "
                f"of the model as it was then. Make the {method} again to explain what the model is now."
            )
