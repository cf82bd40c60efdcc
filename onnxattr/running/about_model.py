"""What methods and explainer files tell of the model that they explain."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from onnxattr.home import at_home
from onnxattr.loading.heads import is_binary
from onnxattr.loading.meaning.inputs_outputs import Meaning
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.preprocessing.spec import Preprocessing
from onnxattr.running.held_sessions import HoldsSessions

#: The parameters that a file may be given for, by their names in Python and on the command line.
_NAMING = (
    "operator",
    "labels",
    "preprocess",
    "vocabulary",
    "baseline_value",
    "background",
    "feature_mask",
    "targets",
)


def files_named(parameters: Mapping[str, Any]) -> list[Path]:
    """The files that parameters name, those of several inputs by their names too (``INPUT=FILE``)."""
    found = []
    for part in (part for name in _NAMING for part in _parts(parameters.get(name))):
        if isinstance(part, (str, os.PathLike)):
            text = os.fspath(part)
            paths = map(at_home, (text, text.partition("=")[2]))
            found += [Path(path) for path in paths if os.path.isfile(path)]
    return found


def _parts(given: Any) -> Sequence[Any]:
    """What a parameter is for each of several inputs, or for the only one."""
    if isinstance(given, Mapping):
        return list(given.values())
    return given if isinstance(given, (list, tuple)) else [given]


class AboutModel(HoldsSessions):
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
    def files_read(self) -> tuple[Path, ...]:
        """All files that were read: those of the model, and those that parameters name."""
        return (*self.files, *files_named(vars(self)))

    @property
    def model_text(self) -> str:
        """The model's file as it stands in ``repr``; the name of its graph where it came from no file."""
        return repr(str(self.files[0])) if self.files else f"<model {self.prepared.model.graph.name!r}>"

    @property
    def unit(self) -> str | None:
        """What the output is if it is one unit that tells two classes apart: "probability" or "logit" of class 1."""
        return self.prepared.unit if is_binary(self.prepared.unit) else None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the model's classes in their order, as far as the file has them."""
        return self.prepared.class_names

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What happens to images before the network, in the file or as it expects; None if the file does not say."""
        return self.prepared.preprocessing

    @property
    def meaning(self) -> Meaning:
        """What the model's inputs and outputs mean, as far as the file says."""
        return self.prepared.meaning

    def for_photos(self) -> Self:
        """What explains photos: itself, but for a method whose model leaves preprocessing to the caller."""
        return self
