"""Attributes of other packages replaced for a while."""

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from onnxattr.errors import ConversionError


@dataclass(frozen=True)
class Patch:
    """An attribute of another package that is replaced for a while.

    Attributes:
        group: The patches that are applied together.
        owner: "module" or "module:Class".
        attribute: Its name there.
        replacement: (what the attribute was, context) -> what replaces it.
        why: What the original does, or does not do, that makes this necessary.
        version: The version that the replacement was written for.
        optional: Whether other versions lack the attribute: where it is missing, nothing is replaced.
        added: Whether the attribute is missing in that version and is added.
    """

    group: str
    owner: str
    attribute: str
    replacement: Callable[[Any, Any], Any]
    why: str
    version: str
    optional: bool = False
    added: bool = False

    @property
    def package(self) -> str:
        """The package that is patched."""
        return self.owner.partition(":")[0].partition(".")[0]

    def found_owner(self) -> Any:
        """The module or class that has the attribute."""
        module, _, name = self.owner.partition(":")
        owner = importlib.import_module(module)
        return getattr(owner, name) if name else owner


@contextlib.contextmanager
def applied(patches: Iterable[Patch], context: Any = None) -> Iterator[None]:
    """Inside the `with` block the attributes are replaced; after it, also after an error, they are what they were.

    Patches of packages that are not imported are left out: no model and no graph of theirs exists.

    Args:
        patches: The patches, applied in this order.
        context: What their replacements work with.

    Raises:
        ConversionError: The installed version lacks an attribute.
    """
    with contextlib.ExitStack() as stack:
        for patch in patches:
            if patch.package not in sys.modules:
                continue
            owner = patch.found_owner()
            if not hasattr(owner, patch.attribute) and not patch.added:
                if patch.optional:
                    continue
                raise ConversionError(
                    f"{patch.package} has no {patch.owner.replace(':', '.')}.{patch.attribute}, which the converter "
                    f"replaces while it works. Install the version that it is tested with: {patch.version}."
                )
            original = getattr(owner, patch.attribute, None)
            stack.enter_context(patched(owner, patch.attribute, patch.replacement(original, context)))
        yield


@contextlib.contextmanager
def patched(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """`owner.name` is `replacement` inside the `with` block, and what it was, or nothing, after it."""
    missing = object()
    own = owner.__dict__.get(name, missing)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if own is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


@contextlib.contextmanager
def first_refusal(refused: Sequence[Exception]) -> Iterator[None]:
    """Leaves the block with the first of the errors that its code noted in the list, whatever comes of it.

    A framework makes errors of its own of those that pass through a layer.
    """
    try:
        yield
    except Exception as error:
        if refused and error is not refused[0]:
            raise refused[0] from error
        raise
