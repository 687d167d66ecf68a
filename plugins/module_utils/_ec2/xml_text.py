# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XML in and out. PRIVATE to the collection.

The parser of Python itself opens no file and no connection, and a document that defines entities is refused: libvirt
writes none.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from .._errors import PocketError

__all__ = ["Element", "add", "child", "element", "parse", "register", "text_of"]

Element = ET.Element


def register(prefix: str, namespace: str) -> None:
    """Write `prefix` for the namespace from now on."""
    ET.register_namespace(prefix, namespace)


def parse(text: str) -> Element:
    """Return the root element of the document `text`."""
    if "<!DOCTYPE" in text:
        raise PocketError("XML with a document type was found where libvirt writes none; it was edited by hand")
    try:
        return ET.fromstring(text)  # noqa: S314
    except ET.ParseError as error:
        raise PocketError(f"XML of libvirt's cannot be read: {error}") from error


def element(tag: str, attributes: Mapping[str, Any] | None = None, text: str | None = None) -> Element:
    """Return a new element; attribute values may be of any type that has a text."""
    made = ET.Element(tag, {key: str(value) for key, value in (attributes or {}).items()})
    made.text = text
    return made


def add(parent: Element, tag: str, attributes: Mapping[str, Any] | None = None, text: str | None = None) -> Element:
    """Return a new last child of `parent`."""
    made = element(tag, attributes, text)
    parent.append(made)
    return made


def child(parent: Element, tag: str) -> Element:
    """Return the first child of that tag, made where there is none."""
    found = parent.find(tag)
    return add(parent, tag) if found is None else found


def text_of(root: Element) -> str:
    """Return the element and what is in it as text."""
    return ET.tostring(root, encoding="unicode")
