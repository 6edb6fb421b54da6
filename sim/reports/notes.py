"""What a reader of a result must know: what overlaps, what stays on chip, and where the products ran, in sentences."""

from hw.config import ArrayConfig
from sim.trace.build import Trace

__all__ = ["run_notes"]

_BETWEEN_OPS = (
    "ops run sequentially: within an op the array, the vector unit, the weight bus and DRAM overlap, and weights "
    "are prefetched as far as the weight buffer reaches; between ops nothing overlaps"
)
_PREFETCH = (
    "ops run sequentially: within an op the array, the vector unit, the weight bus and DRAM overlap; weights are "
    "prefetched as far as the weight buffer reaches, also while an op that is not a GEMM leaves DRAM idle"
)
_SIDE_PRODUCTS = (
    "non-ternary weights (float16 low-rank corrections, 8-bit outliers with their bitmap) come from DRAM once "
    "per token tile and are multiplied on the vector unit while the array works"
)
_ALWAYS = (
    "dequantization streams through the vector unit while the array works",
    "attention blocks (scores, online softmax, values) stay on chip; K and V come from DRAM once per query tile",
    "tensors larger than half of the activation buffer go to DRAM and back between ops",
    "lm_head runs for the last token of each sequence; sampling is not simulated",
)


def run_notes(trace: Trace, array: ArrayConfig, units: dict[str, str], side_products: bool) -> list[str]:
    """Sentences about a run of ``trace`` on ``array``.

    ``units``: name of an op -> where it runs. ``side_products``: whether non-ternary weights are multiplied on the
    vector unit beside the array.
    """
    names = {"array": "the array", "vector": "the vector unit", "host": f"the host ({trace.execution.host.source})"}
    products, head = names[units["attention_scores"]], names[units["lm_head"]]
    places = f"attention products and lm_head run on {products}"
    if products != head:
        places = f"attention {'products' if trace.formats.digits else 'scores'} run on {products}, lm_head on {head}"
    head_bits = array.arithmetic.dense_bits if units["lm_head"] == "array" else trace.formats.head_bits
    formats = f"{places}; {_cache(trace)}, lm_head {head_bits:g} bits, embedding {trace.formats.embedding_bits} bits"
    overlap = _PREFETCH if trace.execution.prefetch_across_ops else _BETWEEN_OPS
    return [overlap, *_ALWAYS, formats, *([_SIDE_PRODUCTS] if side_products else [])]


def _cache(trace: Trace) -> str:
    """How K and V are kept."""
    digits, head_dim = trace.formats.digits, trace.shape.head_dim
    if digits is None:
        return f"KV cache {trace.formats.kv_bits} bits"
    rotated = ", q and k rotated" if digits.rotate else ""
    return (
        f"K in {digits.key_digits} and V in {digits.value_digits} balanced-ternary digits{rotated}, "
        f"{digits.token_bits(head_dim) / (2 * head_dim):.2f} bits an element with scales"
    )
