"""A figure's SVG as part of a page: no style attributes, which the page's policy forbids, and ids of its own."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ptst_pl.results.visible_text import visible

_SVG, _LINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}href"
_DROP = {f"{{{_SVG}}}style", f"{{{_SVG}}}metadata"}
_URL = re.compile(r"url\(#([^)]+)\)")
# What a page of either brightness must be able to choose itself.
_INK, _GROUND = {"#000000", "black"}, {"#ffffff", "white"}


def inline(svg: str, prefix: str, label: str) -> str:
    """The ``<svg>`` element alone.

    Styles become presentation attributes, black becomes the page's text colour and white grounds become clear.

    Args:
        svg: as matplotlib writes it.
        prefix: in front of every id, so that two figures of a page have none in common.
        label: what the figure shows, for readers that do not see it.
    """
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag in _DROP or not isinstance(c.tag, str)]:
            parent.remove(child)
    for element in root.iter():
        _rewrite(element, prefix)
    for name in ("version", "width", "height"):
        root.attrib.pop(name, None)
    width = float(root.attrib["viewBox"].split()[2])
    root.attrib |= {
        "role": "img", "aria-label": visible(label), "width": f"{width * 4 / 3:.0f}", "fill": "currentColor",
        "stroke-linejoin": "round", "stroke-linecap": "butt",
    }  # fmt: skip
    return ElementTree.tostring(root, encoding="unicode")


def _rewrite(element: ElementTree.Element, prefix: str) -> None:
    for pair in element.attrib.pop("style", "").split(";"):
        name, colon, value = pair.partition(":")
        if colon:
            element.attrib.setdefault(name.strip(), value.strip())
    if "id" in element.attrib:
        element.attrib["id"] = f"{prefix}-{element.attrib['id']}"
    link = element.attrib.pop(_LINK, None)
    if link is not None:
        element.attrib["href"] = f"#{prefix}-{link.removeprefix('#')}"
    for name, value in list(element.attrib.items()):
        if "url(#" in value:
            element.attrib[name] = _URL.sub(rf"url(#{prefix}-\1)", value)
        elif name in ("fill", "stroke") and value.lower() in _INK:
            element.attrib[name] = "currentColor"
        elif name == "fill" and value.lower() in _GROUND:
            element.attrib[name] = "none"
