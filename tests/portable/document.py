"""Sections of docs/portability.md, each written by the script that measures it."""

from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "docs" / "portability.md"


def write_section(title: str, text: str) -> None:
    """Replaces the section of that title, or appends it."""
    sections = PATH.read_text().split("\n## ")
    titles = [section.split("\n", 1)[0] for section in sections]
    section = f"{title}\n\n{text.strip()}\n"
    if title in titles:
        sections[titles.index(title)] = section
    else:
        sections.append(section)
    PATH.write_text("\n## ".join(part.rstrip("\n") + "\n" for part in sections))
