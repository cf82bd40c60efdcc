"""Runs the command line: ``python -m onnxattr``."""

import sys

from onnxattr.cli import main

if __name__ == "__main__":
    sys.exit(main())
