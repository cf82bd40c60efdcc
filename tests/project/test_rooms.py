"""The order of the rooms: imports point down one list, and modules that moved say where they are."""

import ast
import importlib
from pathlib import Path

import pytest
from support.rooms import ROOMS

from onnxattr.moved import MOVED

ROOT = Path(__file__).parents[2]


def imported(path: Path) -> set[str]:
    """The rooms that a file imports from, function bodies and annotations included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            folder = ROOT / "converters"
            if node.level and path.is_relative_to(folder):
                # They are installed as onnxattr.converters: relative names hold, and are checked, under both.
                assert node.level <= len(path.relative_to(folder).parts), path
                continue
            assert not node.level, f"{path}: write the whole name of what is imported"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name.split(".")[1] for name in found if name.startswith("onnxattr.")}


def files_of(room: str) -> list[Path]:
    folder = ROOT / "converters" if room == "converters" else ROOT / "onnxattr" / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room):
    below = set(ROOMS[ROOMS.index(room) :])
    upward = {str(path.relative_to(ROOT)): imported(path) - below for path in files_of(room)}
    assert not {path: rooms for path, rooms in upward.items() if rooms}


def test_every_room_is_in_the_list():
    there = {
        path.stem for path in (ROOT / "onnxattr").iterdir() if not path.name.startswith(("__", "py.typed"))
    }
    assert there | {"converters"} == set(ROOMS)


@pytest.mark.parametrize("old", MOVED)
def test_old_names_say_the_new_ones(old):
    assert importlib.import_module(MOVED[old])
    with pytest.raises(ModuleNotFoundError, match=MOVED[old].replace(".", r"\.")):
        importlib.import_module(old)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("compile.method", "Definition", "Method"),
        ("decompositions.registry", "definition", "decomposition"),
        ("decompositions.registry", "DEFINITIONS", "DECOMPOSITIONS"),
        ("metrics.stability", "ExplainerMetric", "MethodMetric"),
    ],
)
def test_names_that_changed_say_so(module, old, new):
    with pytest.raises(ImportError, match=f"{old} is called {new} now"):
        getattr(importlib.import_module(f"onnxattr.{module}"), old)
