"""What methods and explainer files tell of the model that they explain."""

from __future__ import annotations

from pathlib import Path

from onnxattr.loading.heads import is_binary
from onnxattr.loading.prepared import Prepared


class AboutModel:
    """Something that explains a model.

    Attributes:
        prepared: The model.
    """

    prepared: Prepared

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the model is read from: its own and those of its external data."""
        return self.prepared.files

    @property
    def unit(self) -> str | None:
        """What the output is if it is one unit that tells two classes apart: "probability" or "logit" of class 1."""
        return self.prepared.unit if is_binary(self.prepared.unit) else None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the model's classes in their order, as far as the file has them."""
        return self.prepared.class_names
