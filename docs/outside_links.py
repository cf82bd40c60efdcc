"""Links to files outside of docs/ are links in the repository; on the site they become the names of these files."""

import re
from typing import Any

_LINK = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?!api/|start/|notebooks/|[a-z-]+\.md)([^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with names of files in place of links that would lead nowhere."""

    def name(found: re.Match[str]) -> str:
        text, path = found[1].strip("`"), found[2]
        return f"`{path}`" if text in path else f"{text} (`{path}`)"

    return _LINK.sub(name, markdown)
