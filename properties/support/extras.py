"""How to install one of the project's extras, as the project itself was installed."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import unquote, urlparse


def hint(extra: str) -> str:
    """Return the command: of the folder or the address it came from, of the index otherwise."""
    try:
        text = distribution("bncheck").read_text("direct_url.json")
        found = json.loads(text or "{}")
        url = found.get("url", "")
        editable = bool(found.get("dir_info", {}).get("editable"))
    except (PackageNotFoundError, ValueError, AttributeError):
        url, editable = "", False
    if url.startswith("file:"):
        folder = unquote(urlparse(url).path)
        return f"try: pip install {'-e ' if editable else ''}'{folder}[{extra}]'"
    vcs = f" @ {found['vcs_info']['vcs']}+{url}" if url and "vcs_info" in found else ""
    return f"try: pip install 'bncheck[{extra}]{vcs}'"
