"""Runs a method over all batches of a call and collects what they give."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from onnxattr.attributions.plan import Plan
from onnxattr.errors import one_door
from onnxattr.running.collected import Collected
from onnxattr.running.explained import scored
from onnxattr.running.finite import Results
from onnxattr.running.given.feature_mask import masks_of
from onnxattr.running.given.fitting import fitting
from onnxattr.running.progress import hidden
from onnxattr.running.reason import reason


def collect(
    plan: Plan,
    name: str,
    batches: Iterable[tuple[Any, Any]],
    collected: Collected,
    results: Results,
    progress: bool | None,
    stacklevel: int,
) -> None:
    """Explains batches.

    Args:
        plan: The method on its model.
        name: The method's name.
        batches: Inputs and targets.
        collected: Gets what the batches give.
        results: Looks for numbers that are not finite.
        progress: Whether a progress bar is shown; None to show it on a terminal.
        stacklevel: Whose code warnings name: 1 for that of this function, 2 for its caller's.
    """
    groups = zip(plan.prepared.asked, plan.request.map_groups, strict=True)
    collected.grouped = frozenset(asked for asked, group in groups if group is not None)
    masks = [group.shape for group in plan.request.map_groups if group is not None]
    with tqdm(total=0, disable=hidden(progress), desc=name, unit="grad", leave=False) as bar:
        for inputs, targets in batches:
            feeds, samples = plan.feeds(inputs, stacklevel)
            feeds = feeds | plan.baselines(feeds, samples, results.rows, collected.dataset)
            feeds |= masks_of(plan.request, samples, results.rows, collected.dataset)
            collected.look_at(inputs)
            checked = plan.targets(targets, feeds, samples)
            driver = plan.driver
            bar.total += driver.work(samples)
            bar.refresh()
            with one_door(f"{name} cannot explain the model"), fitting(plan.request.prepared, masks):
                run = driver.explain(feeds, checked, samples, results.rows, bar.update)
                details = scored(driver, run, feeds, checked, samples) if collected.keep else None
            collected.add(run, details)
            deltas: list[np.ndarray] = [] if run.delta is None else collected.deltas[-1:]
            scores = run.scores if details is None else details.scores
            results.look_at_size(run.maps)
            predict = partial(driver.predict, feeds, samples)
            results.look(feeds, samples, collected.maps[-1], run.prediction, checked, deltas, scores, predict)
    collected.join(plan.one_sample)
    if collected.dataset:
        plan.check_baselines(results.rows)
    results.say(lambda case: reason(plan.driver, case), stacklevel)
