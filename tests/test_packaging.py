"""What an installed package holds."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_package_is_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / "onnxattr").rglob("__init__.py")}
    packages = {".".join(folder.parts) for folder in folders} | {"onnxattr.converters"}
    assert set(settings["tool"]["setuptools"]["packages"]) == packages
