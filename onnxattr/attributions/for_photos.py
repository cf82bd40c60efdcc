"""Photos for a model whose file says what preprocessing it expects and leaves it to the caller."""

from __future__ import annotations

import inspect
from typing import Any, Self

from onnxattr.attributions.made_of import MadeOf
from onnxattr.inputs.samples import are_photos
from onnxattr.loading.reading.source import ModelSource
from onnxattr.running.about_model import AboutModel


class TakesPhotos(AboutModel):
    """A method that has a twin with preprocessing in front, made when the first photo comes."""

    preprocess: Any
    _source: ModelSource = None
    _made_of: MadeOf
    _of_photos: Any = None

    def for_photos(self) -> Self:
        """The method with ``preprocess="model"``, if its model's file says what preprocessing it expects.

        Baselines, noise and masks are then those of the pixels, unless ``attributions_at`` says otherwise. The method
        itself where preprocessing is in front already, or the file says nothing of it.

        Raises:
            ParameterError: If a parameter does not fit the pixels.
        """
        if not self._expects_more:
            return self
        if self._of_photos is None:
            self._of_photos = self._with_preprocessing()
        found: Self = self._of_photos
        return found

    def _with_preprocessing(self) -> Any:
        names = [name for name in inspect.signature(type(self)).parameters if name != "model"]
        given = {name: getattr(self, name) for name in names} | {"preprocess": "model"}
        return type(self)(self._source, **given)  # type: ignore[call-arg]

    @property
    def _expects_more(self) -> bool:
        """Whether the model's file says what preprocessing it expects, and it is not in front."""
        spec = self.preprocessing
        return self.preprocess is None and spec is not None and not spec.in_graph

    def _taking(self, inputs: Any) -> Self:
        """The method that takes what was given: for photos with the preprocessing that the model expects.

        Every call of a method begins here, and says if the model has changed since the method was made.
        """
        self._made_of.look(type(self).__name__)
        return self.for_photos() if self._expects_more and are_photos(inputs, self.prepared) else self
