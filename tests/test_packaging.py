"""What an installed package holds."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_package_is_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    files = [*(ROOT / "onnxattr").rglob("__init__.py"), *(ROOT / "converters").rglob("__init__.py")]
    folders = {str(file.parent.relative_to(ROOT)) for file in files}
    in_another_place = settings["package-dir"]
    assert {in_another_place.get(name, name.replace(".", "/")) for name in settings["packages"]} == folders
    assert all(name == f"onnxattr.{folder.replace('/', '.')}" for name, folder in in_another_place.items())
