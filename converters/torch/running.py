"""A module that is run to convert it: as its user calls it, on copies, and given back as it was."""

import contextlib
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Any

_CONTAINERS = (dict, OrderedDict, list, set, deque)


class Runner:
    """Calls a module, in the state that it has now, on batches of named and numbered inputs.

    Modules may count their calls, average what they see, keep what they computed last or write into what they are
    given: each call starts from the same state, which the module keeps, and gets copies.

    Attributes:
        module: The module, or what computes the outputs of an exported program.
    """

    def __init__(self, torch: Any, module: Any) -> None:
        self.module, self._torch = module, torch
        parts = [part for part in module.modules() if not _is_unmade(part)]
        self._attributes = [(vars(part), dict(vars(part))) for part in parts]
        contents = [value for _, saved in self._attributes for value in saved.values()]
        self._contents = [(value, value.copy()) for value in contents if type(value) in _CONTAINERS]
        tensors = {id(t): t for part in parts for t in _written(torch, part)}
        self._tensors = [(t, t.detach().clone()) for t in tensors.values()]

    def __call__(self, batch: Mapping[Any, Any]) -> Any:
        """The outputs; inputs by number are positional."""
        torch = self._torch
        with self.unchanged():
            outputs = self.call({name: tensor.clone() for name, tensor in batch.items()})
            # What a module keeps may be what it returns.
            return torch.utils._pytree.tree_map_only(torch.Tensor, torch.clone, outputs)

    def call(self, batch: Mapping[Any, Any]) -> Any:
        """The outputs as the module returns them."""
        args, kwargs = split(batch)
        return self.module(*args, **kwargs)

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[None]:
        """The state of the module is given back in the end."""
        try:
            yield
        finally:
            for attributes, saved in self._attributes:
                attributes.clear()
                attributes.update(saved)
            for value, saved in self._contents:
                value.clear()
                (value.update if hasattr(value, "update") else value.extend)(saved)
            with self._torch.no_grad():
                for tensor, saved in self._tensors:
                    if not self._torch.equal(tensor, saved):
                        tensor.copy_(saved)


def split(batch: Mapping[Any, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional inputs, which have numbers, and those by name."""
    args = tuple(tensor for name, tensor in batch.items() if isinstance(name, int))
    return args, {name: tensor for name, tensor in batch.items() if isinstance(name, str)}


@contextlib.contextmanager
def without_fast_path(torch: Any) -> Iterator[None]:
    """Runs an nn.TransformerEncoder as its exported graph does.

    PyTorch's fast path for inference calls none of its parts, and puts zeros in place of masked steps.
    """
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


def tensors_in(torch: Any, value: Any) -> list[Any]:
    """The tensors of what a module gives: one, or nested in tuples, lists and dicts."""
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def has_hooks(module: Any) -> bool:
    """Whether calling a module runs hooks beside its forward."""
    return any(getattr(module, name, None) for name in ("_forward_hooks", "_forward_pre_hooks"))


def _is_unmade(part: Any) -> bool:
    """Whether a lazy module does not have its weights yet: its first call makes another of it."""
    return hasattr(part, "has_uninitialized_params") and bool(part.has_uninitialized_params())


def _written(torch: Any, part: Any) -> Iterator[Any]:
    """The tensors that a forward pass may write into: all but parameters, which only embeddings with max_norm scale."""
    tensors = [*part.buffers(recurse=False), *vars(part).values()]
    if getattr(part, "max_norm", None) is not None:
        tensors += part.parameters(recurse=False)
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor) or tensor.is_inference() or tensor.is_meta:
            continue
        if tensor.layout == torch.strided:
            yield tensor
