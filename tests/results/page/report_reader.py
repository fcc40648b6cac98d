"""A page of a run read as a browser reads it: elements that close, what is loaded, the figures' numbers."""

import json
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "input", "br", "hr", "img"}


class Page(HTMLParser):
    """The elements of a page.

    Attributes:
        elements: tag and attributes of each, in order.
        scripts: attributes and text of every script; `text` is that of everything else but the style.
        unclosed: elements that were not closed, or closed in another order.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.unclosed: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.unclosed += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()
        else:
            self.unclosed.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif not self._open or self._open[-1] != "style":
            self.text += data

    @property
    def data(self) -> dict[str, Any]:
        """The figures."""
        found = [text for attributes, text in self.scripts if attributes.get("type") == "application/json"]
        assert len(found) == 1
        data: dict[str, Any] = json.loads(found[0])
        return data

    def slot(self, name: str) -> dict[str, Any]:
        """A figure by its id."""
        found = {slot["id"]: slot for slot in self.data["slots"]}
        assert name in found, sorted(found)
        slot: dict[str, Any] = found[name]
        return slot

    @property
    def slots(self) -> set[str]:
        return {slot["id"] for slot in self.data["slots"]}

    @property
    def loaded(self) -> list[str]:
        """What a browser would fetch: sources, and links other than those to follow."""
        found = []
        for tag, attributes in self.elements:
            found += [
                str(attributes[key]) for key in ("src", "srcset", "poster", "data") if attributes.get(key)
            ]
            if tag != "a" and attributes.get("href"):
                found.append(str(attributes["href"]))
        return found
