"""Why a file may compute something else than the module it was made of, in words."""

from collections.abc import Mapping
from typing import Any

from .running import Runner, tensors_in

_TRAINING = (
    "Layers {paths} are in training mode when they are called, although the module is in evaluation mode: dropout "
    "draws numbers then, and a batch normalisation takes the statistics of the batch. Remove what puts them into that "
    "mode, such as .train() inside forward, or a train() of the layer's own."
)
_RANDOM = (
    "The module draws random numbers: called again on the same inputs it gives another output, as dropout with "
    "training=True does. Make it such that it computes the same each time."
)
_OTHERWISE = "Check that the module computes the same each time, and try another opset."


def why_differing(torch: Any, run: Runner, batch: Mapping[Any, Any]) -> str:
    """What the author of a module can change, by how it behaves on a batch on which the file differs.

    Args:
        torch: The package.
        run: Runs the module, which is in evaluation mode.
        batch: Inputs by name or number.
    """
    training: dict[str, None] = {}

    def note(path: str) -> Any:
        return lambda part, _: training.update({path: None}) if part.training else None

    parts = [(path, part) for path, part in run.module.named_modules() if not any(part.children())]
    hooks = [part.register_forward_pre_hook(note(path)) for path, part in parts]
    try:
        with torch.no_grad():
            first, second = (tensors_in(torch, run(batch)) for _ in range(2))
    finally:
        for hook in hooks:
            hook.remove()
    if training:
        return _TRAINING.format(paths=list(training))
    same = all(torch.equal(a, b) or a.isnan().any() for a, b in zip(first, second, strict=True))
    return _OTHERWISE if same else _RANDOM
