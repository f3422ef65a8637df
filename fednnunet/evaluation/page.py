"""Self-contained HTML pages."""

from __future__ import annotations

import base64
import math
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fednnunet.files import write_text
from fednnunet.text import printable


def write_page(path: Path, template: str, **values: object) -> None:
    """Fill a template of this package and write it to `path`, atomically; see `fill_page`."""
    write_text(path, fill_page(template, **values))


def fill_page(template: str, **values: object) -> str:
    """A template of this package with its values.

    Values are escaped, and lose their control characters. Templates format numbers with the filters
    `number(digits)`, `signed(digits)` and `p_value`; NaN is shown as "n/a".
    """
    environment = Environment(
        loader=PackageLoader("fednnunet.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["signed"] = signed
    environment.filters["p_value"] = p_value
    return environment.get_template(template).render(**values)


def svg_source(text: str) -> str:
    """SVG text as a data URL for an image in the page."""
    return _source("svg+xml", text.encode())


def png_source(content: bytes) -> str:
    """A PNG's bytes as a data URL for an image in the page."""
    return _source("png", content)


def number(value: float, digits: int = 3) -> str:
    """A number with `digits` decimals."""
    return "n/a" if math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign (a typographic minus); without sign if it rounds to zero."""
    if math.isnan(value):
        return "n/a"
    text = f"{abs(value):.{digits}f}"
    if not float(text):
        return text
    return ("+" if value > 0 else "\N{MINUS SIGN}") + text


def p_value(p: float) -> str:
    """A p-value with three decimals, or "< 0.001"."""
    return "< 0.001" if p < 0.0005 else number(p)


def _shown(value: object) -> object:
    """Text without what hides from a reader; markup of our own stays as it is."""
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return printable(str(value), lines=True) if plain else value


def _source(kind: str, content: bytes) -> Markup:
    """A data URL, whose letters need no escape and hide nothing."""
    return Markup(f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}")
