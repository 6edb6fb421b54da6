"""What a reader of a result must know: what overlaps, what stays on chip, and where the products ran, in sentences."""

from hw.config import ArrayConfig
from sim.trace.build import Trace
from sim.workload.products import Workload

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
_DEQUANTIZATION = "dequantization streams through the vector unit while the array works"
_ATTENTION = (
    "attention blocks (scores, online softmax, values) stay on chip; K and V come from DRAM once per query tile"
)
_SPILLS = "tensors larger than half of the activation buffer go to DRAM and back between ops"
_SHOWN = 8  # layers that are named one by one
_HEAD = "lm_head runs for the last token of each sequence; sampling is not simulated"


def run_notes(trace: Trace, array: ArrayConfig, units: dict[str, str], side_products: bool) -> list[str]:
    """Sentences about a run of ``trace`` on ``array``.

    ``units``: name of an op -> where it runs. ``side_products``: whether non-ternary weights are multiplied on the
    vector unit beside the array.
    """
    scores, head = units.get("attention_scores"), units.get("lm_head")  # a trace may have neither
    if isinstance(trace.shape, Workload):
        overlap = _PREFETCH if trace.execution.prefetch_across_ops else _BETWEEN_OPS
        return [*_workload_notes(trace.shape), overlap, _DEQUANTIZATION, _SPILLS]
    always = [_DEQUANTIZATION, *([_ATTENTION] if scores else []), _SPILLS, *([_HEAD] if head else [])]
    overlap = _PREFETCH if trace.execution.prefetch_across_ops else _BETWEEN_OPS
    formats = _places_and_formats(trace, array, scores, head)
    return [overlap, *always, formats, *([_SIDE_PRODUCTS] if side_products else [])]


def _workload_notes(workload: Workload) -> list[str]:
    """What was made of a file of products, and what of it was not."""
    notes = [
        f"{len(workload.products)} products of {workload.source}: every second operand is stored weights of the "
        "array's format, activations arrive as the array takes them, and nothing but products is simulated"
    ]
    if workload.left_out:
        shown, more = workload.left_out[:_SHOWN], len(workload.left_out) - _SHOWN
        notes.append(f"left out, as they are no matrix products: {', '.join(shown)}{f' and {more} more' * (more > 0)}")
    return notes


def _places_and_formats(trace: Trace, array: ArrayConfig, scores: str | None, head: str | None) -> str:
    """Where attention products and lm_head ran, those that there are, and what is stored in which format."""
    names = {"array": "the array", "vector": "the vector unit", "host": f"the host ({trace.execution.host.source})"}
    places, stored = [], []
    if scores:
        places.append(f"attention products run on {names[scores]}")
        stored.append(_cache(trace))
    if head:
        places.append(f"lm_head runs on {names[head]}")
        stored.append(_head_format(trace, array, head))
    if scores and scores == head:
        places = [f"attention products and lm_head run on {names[scores]}"]
    elif scores and head:
        what = "products" if trace.formats.digits else "scores"
        places = [f"attention {what} run on {names[scores]}, lm_head on {names[head]}"]
    stored.append(f"embedding {trace.formats.embedding_bits} bits")
    return "; ".join([*places, ", ".join(stored)])


def _head_format(trace: Trace, array: ArrayConfig, head: str) -> str:
    """How lm_head is kept where it runs on ``head``."""
    if digits := trace.formats.head_digits:
        return f"lm_head {digits} balanced-ternary digits" if digits > 1 else "lm_head trits"
    return f"lm_head {array.arithmetic.dense_bits if head == 'array' else trace.formats.head_bits:g} bits"


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
