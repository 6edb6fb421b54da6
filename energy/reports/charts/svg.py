"""SVG in Python: elements whose text is escaped, with widths in per cent of their box.

Own drawing instead of a charting library, for five reasons. A page stays small: Plotly's script alone is 4.7 MB. The
page needs no script to show its figures. Positions along x are per cents and letters are pixels, so that a figure
fills 1100 or 330 pixels and stays legible at both. Colours are variables of the page, which follow light, dark and
print. And what is drawn is text that a test can read.
"""

from markupsafe import Markup, escape

__all__ = ["chart", "element", "share"]


def element(name: str, *children: object, **attributes: object) -> Markup:
    """An element; ``children`` are escaped unless they are markup, ``None`` attributes left out, ``_`` is ``-``."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(escape(child) for child in children)
    return Markup(f"<{name}{pairs}>{inside}</{name}>" if children else f"<{name}{pairs}/>")


def chart(height: float, title: str, description: str, *children: object) -> Markup:
    """A figure as wide as its box and ``height`` pixels high; ``title`` and ``description`` are for screen readers."""
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *children,
        class_="chart",
        width="100%",
        height=height,
        role="group",
        aria_label=title,
    )


def share(fraction: float) -> str:
    """A position or a width as a share of the box: ``share(0.5) == "50%"``."""
    return f"{100 * fraction:.2f}".rstrip("0").rstrip(".") + "%"


def _value(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
