"""Messages in the words of the command line: parameters by the names of their options."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping

#: What parameters are called in Python where their options are called otherwise.
_OTHER_NAMES = {
    "output": "model_output",
    "outputs": "output",
    "keep_layers": "keep_layer",
    "baseline_mode": "baseline_value",
}
#: Options without a value, and those of which Python has another one.
_VALUES = {"verify": {"True": "always", "False": "never"}, "trust": {"True": ""}, "by_column": {"True": ""}}
#: A parameter with a value, neither inside a path, a quoted text or a call, and the option that may be told with it.
_GIVEN = re.compile(
    r"(?<![\w/\\.'\"=-])(?P<name>[a-z_]+)=(?P<value>'[^']*'|\"[^\"]*\"|<[^>]*>|\[[^\]]*\]|\([^)]*\)|[\w.+-]*\w|\.\.\.|)"
    r"(?![\w/(=])(?: \((?P<told>--[^)]*)\))?"
)
#: Python's calls, which stay as they are.
_CALL = re.compile(r"\b[A-Za-z_][\w.]*\((?:[^()]|\([^()]*\))*\)")


def options_of(parser: argparse.ArgumentParser) -> dict[str, str]:
    """The options of a command by the names of the parameters that they set."""
    found: dict[str, str] = {}
    for action in parser._actions:
        if action.option_strings and action.dest != "help":
            found.setdefault(action.dest, max(action.option_strings, key=len))
    if "-o" in parser._option_string_actions:  # what is written is no output of a model
        del found["output"]
    return found | {name: found[other] for name, other in _OTHER_NAMES.items() if other in found}


def spoken(message: str, options: Mapping[str, str]) -> str:
    """A message with the options of a command in place of the parameters of Python.

    Args:
        message: What is said, of ``wrt=<name>`` for example.
        options: The options by the names of parameters.
    """
    calls = [match.span() for match in _CALL.finditer(message)]

    def told(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        if name not in options or any(start < match.start() < end for start, end in calls):
            return match[0]
        if match["told"] and not value.startswith("["):
            return match["told"]
        more = f" ({match['told']})" if match["told"] and value == "[...]" else ""
        return _with_value(name, options[name], value) + more

    return _GIVEN.sub(told, message)


def _with_value(name: str, option: str, value: str) -> str:
    """An option with a value that was written as in Python."""
    names = value.startswith(("['", "('"))
    if names or (value.startswith("[") and value != "[...]"):
        return " ".join(f"{option} {part.strip()}" for part in value[1:-1].split(",") if part.strip())
    if value.startswith("("):
        return f"{option} {value[1:-1].replace(' ', '').rstrip(',')}"
    return f"{option} {_VALUES.get(name, {}).get(value, value.strip('[]'))}".rstrip()
