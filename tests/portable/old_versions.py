"""Runs today's exported files in older versions of ONNX Runtime and compares the numbers with the driven rendering.

`make measure-portability` runs it, and writes the table to docs/portability.md. Each version gets an environment of
its own, kept for the next time; 1.15 is the oldest with a wheel for Python 3.11.
"""

import argparse
import subprocess
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from portable.cases import write_cases  # noqa: E402
from portable.document import write_section  # noqa: E402
from portable.network import Entry  # noqa: E402
from portable.run import TOLERANCE, error_of  # noqa: E402

#: The NumPy that a wheel works with, by version of ONNX Runtime.
VERSIONS = {
    "1.15.0": "numpy<2",
    "1.16.3": "numpy<2",
    "1.17.3": "numpy<2",
    "1.18.1": "numpy<2",
    "1.20.1": "numpy",
    "1.22.1": "numpy",
}


def main() -> None:
    """Prints a table; the exit status is 1 if a version does not run a file, or gives other numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where environments, explainers and results go")
    parser.add_argument("--versions", nargs="+", choices=VERSIONS, default=list(VERSIONS))
    parser.add_argument("--write", action="store_true", help="write docs/portability.md")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # what the methods say of these models is known
    folder = options.folder.absolute()
    entries = write_cases(folder / "cases", repeats=0)
    errors = {version: worst_error(folder, entries, version) for version in options.versions}
    rows = [f"| {version} | {VERSIONS[version]} | {error:.1e} |" for version, error in errors.items()]
    text = "\n".join([
        f"The same {len(entries)} files run in older versions. {next(iter(errors))} is the oldest with a wheel for",
        "Python 3.11. The differences are those from `method.explain` in the current version:",
        "",
        "| ONNX Runtime | with | largest difference |",
        "| --- | --- | --- |",
        *rows,
    ])  # fmt: skip
    print(text)
    if max(errors.values()) > TOLERANCE:
        sys.exit("Too far from the driven rendering.")
    if options.write:
        write_section("Older versions of ONNX Runtime", text)


def environment_of(folder: Path, version: str) -> Path:
    """The interpreter of an environment with a version, which is made where it is missing or was not finished."""
    environment = folder / f"onnxruntime-{version}"
    python, ready = environment / "bin" / "python", environment / ".ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        wanted = [f"onnxruntime=={version}", VERSIONS[version]]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
        ready.touch()
    return python


def worst_error(folder: Path, entries: list[Entry], version: str) -> float:
    """The largest error of any file in one version."""
    python = environment_of(folder, version)
    command = [python, "-I", "run_python.py", folder / "cases", version]
    subprocess.run(command, cwd=Path(__file__).parent, check=True)
    return max(error_of(folder / "cases", entry, version) for entry in entries)


if __name__ == "__main__":
    main()
