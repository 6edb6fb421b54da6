"""What rotating the inputs of o and down at run time would cost: no weight in front of them can take it up.

Ref: QuaRot (arXiv 2404.00456) section 4; SpinQuant (arXiv 2405.16406) section 3.1, R3 and R4.
"""

import math

from hw.pages import markdown_table
from quant.shapes import ModelShape, load_shape

__all__ = ["online_adds", "online_markdown"]

_DOCUMENTED = ("smollm2-135m", "llama2-7b")


def online_adds(shape: ModelShape) -> tuple[int, int]:
    """Adds per token: of both transforms in all layers, and of the linears o and down themselves.

    A fast transform of k inputs takes ``k log2(k)`` adds, a linear ``n k``.
    """
    sizes = [shape.linear(kind) for kind in ("o_proj", "down_proj")]
    transforms = sum(round(k * math.log2(k)) for _, k in sizes)
    return shape.layers * transforms, shape.layers * sum(n * k for n, k in sizes)


def online_markdown() -> str:
    """A Markdown table of two models."""
    rows = []
    for name in _DOCUMENTED:
        adds, linears = online_adds(load_shape(name))
        rows.append([name, f"{adds / 1e6:.2f} M", f"{linears / 1e6:.1f} M", f"{adds / linears:.2%}"])
    return markdown_table(["adds per token", "two transforms", "o and down themselves", "more"], rows)
