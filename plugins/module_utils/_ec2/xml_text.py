# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XML in and out by lxml, which reads no entity and opens no file or connection. PRIVATE to the collection."""

from __future__ import annotations

from typing import Any

from .._deps import require

__all__ = ["add", "child", "element", "parse", "text_of"]


def parse(text: str) -> Any:
    """Return the root element of the document `text`."""
    etree = require("lxml.etree")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_blank_text=True)
    return etree.fromstring(text.encode(), parser)


def element(tag: str, attributes: dict[str, Any] | None = None, text: str | None = None, **options: Any) -> Any:
    """Return a new element; attribute values may be of any type that has a text."""
    etree = require("lxml.etree")
    made = etree.Element(tag, {key: str(value) for key, value in (attributes or {}).items()}, **options)
    made.text = text
    return made


def add(parent: Any, tag: str, attributes: dict[str, Any] | None = None, text: str | None = None) -> Any:
    """Return a new last child of `parent`."""
    child = element(tag, attributes, text)
    parent.append(child)
    return child


def child(parent: Any, tag: str) -> Any:
    """Return the first child of that tag, made where there is none."""
    found = parent.find(tag)
    return add(parent, tag) if found is None else found


def text_of(root: Any) -> str:
    """Return the element and what is in it as text."""
    return str(require("lxml.etree").tostring(root, encoding="unicode", pretty_print=True))
