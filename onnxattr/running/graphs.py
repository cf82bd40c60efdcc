"""The graphs that the driver runs, each with a session that is made on first use and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import onnx_ir as ir

from onnxattr.compile.method import Method, first_moment
from onnxattr.compile.renderings.batch import batch_model
from onnxattr.compile.renderings.driven import (
    baselines_model,
    finish_model,
    path_score_model,
    rows_rewrite,
    step_rewrite,
    sum_model,
)
from onnxattr.compile.renderings.forward import score_model
from onnxattr.compile.renderings.rewrite import Request
from onnxattr.compile.renderings.tail import ends_model
from onnxattr.graph.intervals import Range
from onnxattr.session import Session


class Graphs:
    """The graphs of one method on one model."""

    def __init__(self, request: Request, providers: Sequence[Any] | None):
        self._request, self._providers = request, providers

    def _session(self, model: ir.Model) -> Session:
        return Session(model, self._providers, self._request.prepared.folder)

    @cached_property
    def predict(self) -> Session:
        """The model itself, cut."""
        return self._session(self._request.prepared.model)

    @cached_property
    def score(self) -> Session:
        """The explained score of each sample."""
        return self._session(score_model(self._request))

    @cached_property
    def by_label(self) -> Session:
        """Prediction and attribution of each sample in one run, for labels."""
        return self._session(batch_model(self._request, labels=True, tells=not self._request.score.linear))

    @cached_property
    def by_weight(self) -> Session:
        """The same for weights on the output; without a prediction where attributions do not depend on the inputs."""
        tells = not self._request.score.linear
        return self._session(batch_model(self._request, labels=False, tells=tells, needed=True))

    @cached_property
    def pilot(self) -> Session:
        """The gradient at each sample itself, which is subtracted before squaring."""
        plain = Method(first_moment, rules=self._request.method.rules)
        request = replace(self._request, method=plain, reducer=None, groups=())
        return self._session(batch_model(request, labels=False))

    @cached_property
    def baselines(self) -> Session:
        """The baselines that are computed from the samples."""
        return self._session(baselines_model(self._request))

    @property
    def step(self) -> Session:
        """Moments from a chunk of points; see ``step_rewrite``."""
        return self._of_points[0]

    @cached_property
    def path_scores(self) -> Session:
        """The score at points of a path."""
        return self._session(path_score_model(self._request))

    @property
    def gradients(self) -> Session:
        """The gradient at each point of a chunk by itself."""
        return self._of_points[0]

    @property
    def gradient_ranges(self) -> Sequence[Range]:
        """What the gradients at points can hold, for each explained value."""
        return self._of_points[1]

    @cached_property
    def _of_points(self) -> tuple[Session, Sequence[Range]]:
        """The graph of the gradients at points: summed, or each by itself where adaptive points follow from them."""
        refinement = self._request.method.refinement
        build = rows_rewrite if refinement is not None and refinement.adaptive else step_rewrite
        rewrite = build(self._request)
        return self._session(rewrite.finished_model()), rewrite.gradient_ranges

    @cached_property
    def ends(self) -> Session:
        """What is computed once for each sample, where work is shared; see ``ends_model``."""
        assert self._request.tail is not None
        return self._session(ends_model(self._request, self._request.tail))

    def finish_of_cut(self, ranges: Sequence[Range]) -> Session:
        """A new session for attributions from moments of gradients by the values of the cut, where work is shared.

        ``ranges``: what the gradients at points can hold.
        """
        return self._session(finish_model(self._request, self._request.tail, ranges))

    @cached_property
    def sum(self) -> Session:
        """Moments from the gradients of one sample."""
        return self._session(sum_model(self._request))

    @cached_property
    def finish(self) -> Session:
        """Attributions from moments."""
        return self._session(finish_model(self._request))

    @cached_property
    def weights_dtype(self) -> Any:
        """The dtype of the weights of points."""
        first = self._request.prepared.value(self._request.prepared.wrt[0])
        dtype = self._request.method.dtype_of_moments(first)
        assert dtype is not None
        return dtype.numpy()

    @cached_property
    def score_dtype(self) -> Any:
        """The dtype of the explained output."""
        return _numpy_dtype(self._request, self._request.prepared.output)


def _numpy_dtype(request: Request, name: str) -> Any:
    dtype = request.prepared.value(name).dtype
    assert dtype is not None
    return dtype.numpy()
