"""Published perplexities of WikiText-2 that a run on the same model is read against."""

from typing import NamedTuple

from quant.shapes import ModelShape, load_shape

__all__ = ["Published", "published_for"]


class Published(NamedTuple):
    """One figure, as printed there."""

    model: str  # of quant.shapes
    label: str
    perplexity: str
    int8: bool  # activations
    source: str


_FIGURES = (
    Published(
        "llama2-7b", "LLaMA-2-7B as published, WikiText-2: PT-BitNet W1.58A8", "8.59", True,
        "Guo et al., Neural Networks 191:107855, 2025",
    ),
    Published(
        "llama2-7b", "LLaMA-2-7B as published, WikiText-2: OmniQuant W2A16 g128", "11.06", False,
        "Shao et al., arXiv 2308.13137",
    ),
)  # fmt: skip
_DIMENSIONS = {"hidden_size", "intermediate_size", "layers", "heads", "kv_heads", "vocab_size"}


def published_for(shape: ModelShape) -> list[Published]:
    """The figures for models of these dimensions, whatever the name of their directory."""

    def dimensions(one: ModelShape) -> dict[str, int]:
        return one.model_dump(include=_DIMENSIONS)

    return [figure for figure in _FIGURES if dimensions(load_shape(figure.model)) == dimensions(shape)]
