"""What an installed package holds."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("top", ["onnxattr", "converters"])
def test_every_folder_of_modules_is_a_package(top):
    """Packages are found by their __init__.py; ``make release-check`` compares a wheel with the tree."""
    folders = {file.parent for file in (ROOT / top).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
