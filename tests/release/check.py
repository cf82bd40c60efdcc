"""Builds the wheel and the source distribution, and tries the wheel where nothing of the source tree is.

Run as ``python tests/release/check.py build/release``. The wheel is built from the source distribution, so that both
are complete; twine checks their description as PyPI renders it. The wheel is installed with ``[cpu]`` in a fresh
virtual environment, and ``smoke.py`` runs there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(folder: Path) -> None:
    """Builds, looks at and tries the two files."""
    shutil.rmtree(folder, ignore_errors=True)
    tools = environment(folder / "tools", "build", "twine")
    run(tools, "-m", "build", "--quiet", "--outdir", str(folder / "dist"), str(ROOT))
    (wheel,), (source,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    check_wheel(wheel)
    check_source(source)
    run(tools, "-m", "twine", "check", "--strict", str(wheel), str(source))
    fresh = environment(folder / "venv", f"{wheel}[cpu]")
    with tempfile.TemporaryDirectory() as outside:
        smoke = shutil.copy(Path(__file__).with_name("smoke.py"), outside)
        run(fresh, "-I", smoke, cwd=outside)
    print(
        f"{wheel.name} ({wheel.stat().st_size / 1e3:.0f} kB) and {source.name}: complete, and the wheel works"
    )


def environment(folder: Path, *requirements: str) -> Path:
    """The Python of a new virtual environment with some requirements installed."""
    venv.create(folder, clear=True, with_pip=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
    return python


def run(python: Path, *arguments: str, cwd: str | None = None) -> None:
    """Runs Python and ends the check where that fails."""
    if code := subprocess.run([str(python.absolute()), *arguments], cwd=cwd, check=False).returncode:
        sys.exit(f"exit status {code} of: python {' '.join(arguments)}")


def package_files() -> set[str]:
    """The names in the wheel of every file of the package that is in the source tree, of any kind."""
    found = set()
    for folder, prefix in ((ROOT / "onnxattr", "onnxattr"), (ROOT / "converters", "onnxattr/converters")):
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found.add(f"{prefix}/{path.relative_to(folder).as_posix()}")
    return found


def check_wheel(wheel: Path) -> None:
    """The wheel holds the package, all of it, its licence and its command, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        described = {name.split(".dist-info/")[1] for name in archive.namelist() if ".dist-info/" in name}
    report("missing from the wheel", package_files() - names)
    report("in the wheel, though no file of the package", names - package_files())
    report(
        "missing beside the wheel's metadata",
        {"METADATA", "entry_points.txt", "licenses/LICENSE"} - described,
    )


def check_source(source: Path) -> None:
    """The source distribution holds what the wheel is built from."""
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "README.md", "LICENSE"}
    wanted |= {name.replace("onnxattr/converters/", "converters/") for name in package_files()}
    report("missing from the source distribution", wanted - names)


def report(what: str, names: set[str]) -> None:
    """Ends the check if there are any."""
    if names:
        sys.exit(f"{what}: {', '.join(sorted(names))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
