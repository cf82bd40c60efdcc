"""Tasks of a job on Ray: an actor for each core, started again when it dies, its task repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from onnxattr.bulk.work import Task, Worker
from onnxattr.errors import NoSpaceError, RuntimeMissingError

#: How often an actor may die, and its task be repeated.
_TRIES = 4


def run(worker: Worker, tasks: Sequence[Task], address: str | None) -> Iterator[tuple[Task, int, str | None]]:
    """Does the tasks, and gives each with the number of samples and what was wrong, as they end.

    Args:
        worker: What does a task.
        tasks: The tasks; outputs appear whole or not at all, so a repeated task leaves one file.
        address: Address of a Ray cluster; None for this machine.

    Raises:
        RuntimeMissingError: If Ray is not installed, or the cluster is not to be reached.
        NoSpaceError: If the disk is full.
    """
    if not tasks:
        return
    ray, mine = _connected(address)
    try:
        cores = max(1, min(len(tasks), int(ray.cluster_resources().get("CPU", 1))))
        kind = ray.remote(num_cpus=1, max_restarts=_TRIES, max_task_retries=_TRIES)(Actor)
        shared = ray.put(worker)
        actors = [kind.remote(shared) for _ in range(cores)]
        waiting, running = list(reversed(tasks)), {}
        for actor in actors:
            task = waiting.pop()
            running[actor.run.remote(task)] = (actor, task)
        while running:
            (ended, *_), _ = ray.wait(list(running), num_returns=1)
            actor, task = running.pop(ended)
            yield (task, *_result(ray, ended))
            if waiting:
                task = waiting.pop()
                running[actor.run.remote(task)] = (actor, task)
    finally:
        if mine:
            ray.shutdown()


class Actor:
    """Holds the session of one process."""

    def __init__(self, worker: Worker):
        self._worker = worker

    def run(self, task: Task) -> tuple[int, str | None]:
        """Does a task; see ``Worker.run``."""
        return self._worker.run(task)


def _result(ray: Any, ended: Any) -> tuple[int, str | None]:
    try:
        samples, error = ray.get(ended)
    except NoSpaceError:  # Ray's error is of the class of its cause too
        raise
    except ray.exceptions.RayError as error:
        return 0, f"the worker failed: {' '.join(str(error).split())[-300:]}"
    return samples, error


def _connected(address: str | None) -> tuple[Any, bool]:
    """Ray, and whether it was connected here, so that it is to be left again."""
    try:
        import ray
    except ImportError as error:
        raise RuntimeMissingError("engine='ray' needs Ray: pip install onnxattr[ray].") from error
    if ray.is_initialized():
        return ray, False
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False, configure_logging=False)
    except Exception as error:
        raise RuntimeMissingError(
            f"Ray cannot be started or reached (address={address!r}): {error}"
        ) from error
    return ray, True
