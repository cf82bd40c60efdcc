"""The driver that computes once for each sample what is the same at all of its points; see ``compile.cut``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from onnxattr.compile.renderings.tail import Tail
from onnxattr.running.driver import Driver
from onnxattr.running.given.arrays import take
from onnxattr.running.given.targets import Targets
from onnxattr.running.runs import Advance, Feeds, Run
from onnxattr.session import Session

#: About how many bytes of values at the cut are kept at a time.
_KEPT_BYTES = 2**27
#: Before the name of what the whole method takes and what is behind the cut takes too.
_OF_WHOLE = "onnxattr/whole/"


class SharingDriver(Driver):
    """A driver that shares work where that pays."""

    def explain(
        self, feeds: Feeds, targets: Targets, samples: int, first_sample: int, advance: Advance
    ) -> Run:
        """The attributions of each explained value; see ``Driver.explain``."""
        behind = None if self.request.method.single else self._behind
        if behind is None:
            return super().explain(feeds, targets, samples, first_sample, advance)
        fed = self.with_baselines(feeds, samples, first_sample)
        groups = list(self._groups(behind, fed, samples))
        if len(groups) == 1:
            return self._of_group(behind, fed, targets, samples, first_sample, advance)
        # All labels are looked at before any gradient is taken.
        weights, prediction = self._weights(feeds, targets, samples)
        runs = [
            self._of_group(
                behind, take(fed, part), Targets(weights=weights[part]),
                part.stop - part.start, first_sample + part.start, advance,
            )
            for part in groups
        ]  # fmt: skip
        return replace(_joined(runs), prediction=prediction)

    def _of_group(
        self, behind: _Behind, fed: Feeds, targets: Targets, samples: int, first_sample: int, advance: Advance
    ) -> Run:
        """What ``explain`` finds for samples whose values at the cut are kept together."""
        ends = behind.ends(fed, samples)
        straight = behind.on_straight_paths(ends)
        # Between infinity and a number there is no straight way, but there may be one between the samples.
        driver: Driver = behind if straight else self
        fed = fed | ends if straight else dict(fed)
        weights, prediction = driver._weights(fed, targets, samples)
        fed |= {driver._target: weights}
        return replace(driver.run_of(fed, samples, first_sample, advance), prediction=prediction)

    @cached_property
    def _behind(self) -> _Behind | None:
        tail = self.request.tail
        return None if tail is None else _Behind(self, tail)

    def _groups(self, behind: _Behind, fed: Feeds, samples: int) -> Iterator[slice]:
        """Slices of samples whose values at the cut, and their gradients, are not too large to be kept."""
        size = samples
        if self.chunk is not None and samples > self.chunk:
            one = behind.ends(take(fed, slice(0, 1)), 1)
            size = max(1, _KEPT_BYTES // max(2 * sum(array.nbytes for array in one.values()), 1))
        for start in range(0, samples, size):
            yield slice(start, min(start + size, samples))


class _Behind(Driver):
    """The driver of what is behind a cut; the last step is that of the whole method."""

    def __init__(self, whole: Driver, tail: Tail):
        chunk = None if whole.chunk is None else tail.rows(whole.chunk, whole.request)
        super().__init__(tail.request, chunk, whole.seed, whole.providers)
        self._whole, self._tail = whole, tail

    def ends(self, fed: Feeds, samples: int) -> Feeds:
        """What the step takes of each sample: the values of the cut there and at the baseline."""
        if not (self._tail.straight or self._tail.cut.given) and fed.keys() >= set(self._tail.cut.frontier):
            return {}
        names = [*self._tail.cut.frontier, *self._tail.cut.given, *self._tail.starts]
        found = dict(zip(names, self._whole.in_chunks(self._whole.graphs.ends, fed, samples), strict=True))
        for name in self._tail.starts:
            if self._tail.one_start:
                found[name] = np.broadcast_to(found[name][:1], (samples, *found[name].shape[1:]))
        # Both may call their baselines alike.
        kept = {f"{_OF_WHOLE}{name}": fed[name] for name in found if name in fed}
        return found | kept

    def on_straight_paths(self, ends: Feeds) -> bool:
        """Whether there are paths between the ends: whether both are finite and have elements; or none are needed."""
        tail = self._tail
        names = (*tail.cut.frontier, *tail.starts) if tail.straight else ()
        return all(ends[name].size > 0 and bool(np.isfinite(ends[name]).all()) for name in names)

    def finish(self, fed: Feeds, samples: int) -> list[np.ndarray]:
        """The last step, from the model's inputs and the moments of each sample."""
        own = {name.removeprefix(_OF_WHOLE): fed[name] for name in fed if name.startswith(_OF_WHOLE)}
        return self._whole.in_chunks(self._last, fed | own, samples)

    @cached_property
    def _last(self) -> Session:
        graphs = self._whole.graphs
        if not (self._tail.straight or self._tail.cut.summed):
            return graphs.finish
        return graphs.finish_of_cut(self.graphs.gradient_ranges)

    def _run(
        self, found: list[np.ndarray], prediction: np.ndarray | None, difference: np.ndarray | None = None
    ) -> Run:
        return self._whole._run(found, prediction, difference)


def _joined(runs: list[Run]) -> Run:
    """The runs of several groups of samples as one."""

    def joined(name: str) -> Any:
        parts = [getattr(run, name) for run in runs]
        if name == "maps":
            return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        return None if parts[0] is None else np.concatenate(parts)

    return replace(runs[0], **{field.name: joined(field.name) for field in fields(Run)})
