"""Parameters of methods: annotated attributes of their classes, of which constructors and docstrings are made."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ClassVar, dataclass_transform

import numpy as np

from onnxattr.attributions.elsewhere import parameter_hints
from onnxattr.attributions.options import OPTIONS
from onnxattr.errors import ParameterError

_SECTION = re.compile(r"^(Args|Raises):\n", re.MULTILINE)
_ENTRY = re.compile(r"^    (\*{0,2}\w+): ", re.MULTILINE)
#: Parameters that each call looks at anew.
_LOOKED_AT = ("check_finite", "progress")


@dataclass_transform(field_specifiers=(field,))
class Parameters:
    """The base of classes whose constructor takes their annotated attributes, inherited ones first, as a dataclass's.

    A parameter, its type and its default so stand once: a subclass names what it adds, and what has another default.
    Keyword-only parameters stand behind the others, those of a class before those that it inherits. Docstrings are
    completed with the entries of inherited parameters and errors. Checkers of types and editors see the parameters
    too. A class with a constructor of its own keeps it.

    A made object keeps its parameters: graphs, sessions and masks are made of them, so what is set later would be shown
    and recorded, but not computed.
    """

    #: Keyword-only parameters that are also taken by position, behind the others. A dataclass has inherited parameters
    #: first; so those that stand behind a subclass's own are declared as keywords, which is how type checkers see them.
    by_position: ClassVar[tuple[str, ...]] = ()
    #: The names of the parameters that the caller gave.
    given_names: frozenset[str]
    _made = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__init__" in vars(cls):
            setattr(cls, "__init__", _kept(cls, cls.__init__))  # noqa: B010
            return
        if inspect.get_annotations(cls):
            dataclass(eq=False, repr=False, match_args=False)(cls)
            setattr(cls, "__init__", _kept(cls, _checked(cls)))  # noqa: B010
        if cls.__doc__:
            cls.__doc__ = documented(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuses another value of a parameter, of which a made object would not take notice."""
        if self._made and name not in _LOOKED_AT and name in inspect.signature(type(self)).parameters:
            kind = type(self).__name__
            raise AttributeError(
                f"{name} of {kind} is fixed when it is made. Make another: {kind}(..., {name}=...).",
                name=name,
                obj=self,
            )
        super().__setattr__(name, value)


def own_names(kind: type) -> list[str]:
    """The parameters that a class takes beside the model and the options of every method."""
    parameters = inspect.signature(kind).parameters.values()
    named = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return [name for name in named if name not in ("model", *OPTIONS)]


def shown(given: Any, shared: type) -> dict[str, Any]:
    """The parameters of an object that its ``repr`` shows: those of its own class, and others that were set.

    Args:
        given: The object.
        shared: The class whose parameters every one of its kind has; they are shown where they differ from the default.
    """
    found = {}
    for name, parameter in inspect.signature(type(given)).parameters.items():
        value: Any = getattr(given, name, None)
        default: Any = parameter.default
        own = parameter.kind == parameter.POSITIONAL_OR_KEYWORD and name not in inspect.get_annotations(
            shared
        )
        same = value is default or (type(value) is type(default) and np.array_equal(value, default))
        if name != "model" and (own or not same):
            found[name] = value
    return found


def _kept(cls: type[Parameters], constructor: Callable[..., None]) -> Callable[..., None]:
    """A constructor at whose end, if it is that of the object's class, the parameters are fixed."""

    @wraps(constructor)
    def initialise(self: Any, *given: Any, **named: Any) -> None:
        constructor(self, *given, **named)
        if next(kind for kind in type(self).__mro__ if "__init__" in vars(kind)) is cls:
            vars(self)["_made"] = True

    return initialise


def _checked(cls: type[Parameters]) -> Callable[..., None]:
    """The constructor of a dataclass, which refuses names that it does not take and says what they may have meant."""
    generated: Callable[..., None] = vars(cls)["__init__"]
    signature = inspect.signature(generated)
    public = signature.replace(parameters=_as_seen(cls, signature))
    names = list(public.parameters)
    declared = [p.name for p in signature.parameters.values() if p.kind == p.POSITIONAL_OR_KEYWORD]

    @wraps(generated)
    def initialise(self: Any, *given: Any, **named: Any) -> None:
        unknown = sorted(set(named) - set(signature.parameters))
        if unknown:
            kind = type(self)
            known = [*own_names(kind), *OPTIONS]
            raise ParameterError(
                f"{kind.__name__} has no parameters {unknown}.{parameter_hints(unknown, known)} Beside the model it "
                f"takes {known}."
            )
        most = len(declared) - 1  # without self
        behind, too_many = given[most:], given[most + len(cls.by_position) :]
        self.given_names = frozenset([*names[1 : len(given) + 1], *named])
        more = dict(zip(cls.by_position, behind, strict=False))
        generated(self, *given[:most], *too_many, **more, **named)

    setattr(initialise, "__signature__", public)  # noqa: B010
    return initialise


def _as_seen(cls: type[Parameters], signature: inspect.Signature) -> list[inspect.Parameter]:
    """The parameters in the order that callers see: keywords last, those of a class before those it inherits."""
    order = [name for kind in cls.__mro__ for name in inspect.get_annotations(kind)]
    by_position, keywords = [], []
    for parameter in map(_without_init_var, signature.parameters.values()):
        if parameter.kind != parameter.KEYWORD_ONLY:
            by_position.append(parameter)
        elif parameter.name not in cls.by_position:
            keywords.append(parameter)
    last = [_without_init_var(signature.parameters[name]) for name in cls.by_position]
    last = [parameter.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for parameter in last]
    return [*by_position, *last, *sorted(keywords, key=lambda parameter: order.index(parameter.name))]


def _without_init_var(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter with the type that callers give."""
    annotation = parameter.annotation
    if isinstance(annotation, str) and (found := re.fullmatch(r"InitVar\[(.*)\]", annotation)):
        return parameter.replace(annotation=found[1])
    return parameter


def documented(cls: type) -> str:
    """A class's docstring with the entries that its bases have for its parameters and errors."""
    prose = _sections(cls.__doc__ or "")[0]
    arguments, errors = dict[str, str](), dict[str, str]()
    for kind in reversed(cls.__mro__):
        found = _sections(vars(kind).get("__doc__") or "")[1]
        arguments |= found.get("Args", {})
        errors |= found.get("Raises", {})
    spelled = (str(parameter).partition(":")[0] for parameter in inspect.signature(cls).parameters.values())
    names = [name.partition("=")[0].strip() for name in spelled]
    arguments = {name: arguments[name] for name in names if name in arguments}
    listed = [
        f"{title}:\n" + "\n".join(entries.values())
        for title, entries in (("Args", arguments), ("Raises", errors))
    ]
    return "\n\n".join([prose, *listed])


def _sections(docstring: str) -> tuple[str, dict[str, dict[str, str]]]:
    """The text of a docstring, and the entries of its sections by name."""
    prose, *parts = _SECTION.split(inspect.cleandoc(docstring))
    found = {}
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        _, *entries = _ENTRY.split(text.rstrip())
        found[title] = {
            name: f"    {name}: {entry.rstrip()}"
            for name, entry in zip(entries[::2], entries[1::2], strict=True)
        }
    return prose.rstrip(), found
