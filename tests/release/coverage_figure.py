"""Writes the share of lines and branches that ``make coverage`` measured into CONTRIBUTING.md."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"

share = subprocess.run(
    [sys.executable, "-m", "coverage", "report", "--format=total"], check=True, capture_output=True, text=True
).stdout.strip()
text, count = re.subn(
    r"<!-- coverage -->.*<!-- end -->", f"<!-- coverage -->{share} %<!-- end -->", PAGE.read_text()
)
if count != 1:
    sys.exit(f"{PAGE.name} has {count} places for the figure; expected 1.")
PAGE.write_text(text)
print(f"{share} % of lines and branches; written into {PAGE.name}")
