"""The hint that names an extra fits how the project was installed."""

from __future__ import annotations

import json

import pytest

from properties.support import extras

FOLDER = {"url": "file:///home/x/my%20bn", "dir_info": {"editable": True}}
PLACES = {
    "from the index": (None, "try: pip install 'bncheck[report]'"),
    "from a folder": ({**FOLDER, "dir_info": {}}, "try: pip install '/home/x/my bn[report]'"),
    "editable": (FOLDER, "try: pip install -e '/home/x/my bn[report]'"),
    "from a repository": (
        {"url": "https://host/bn", "vcs_info": {"vcs": "git"}},
        "try: pip install 'bncheck[report] @ git+https://host/bn'",
    ),
    "unreadable": ("no JSON", "try: pip install 'bncheck[report]'"),
}


class Installed:
    """A distribution that knows where it came from, or does not."""

    def __init__(self, url: object) -> None:
        self.url = url

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.url if self.url is None or isinstance(self.url, str) else json.dumps(self.url)


@pytest.mark.parametrize("place", PLACES)
def test_the_hint_fits(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, an editable one, a repository and the index are each named as pip takes them."""
    url, wanted = PLACES[place]
    monkeypatch.setattr(extras, "distribution", lambda name: Installed(url))
    assert extras.hint("report") == wanted
