"""Sections of docs/portability.md and other documents, each written by the script that measures it."""

from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "docs" / "portability.md"


def write_section(title: str, text: str, path: Path = PATH) -> None:
    """Replaces the section of that title, or appends it."""
    sections = path.read_text().split("\n## ")
    titles = [section.split("\n", 1)[0] for section in sections]
    section = f"{title}\n\n{text.strip()}\n"
    if title in titles:
        sections[titles.index(title)] = section
    else:
        sections.append(section)
    path.write_text("\n## ".join(part.rstrip("\n") + "\n" for part in sections))
