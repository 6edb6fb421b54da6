"""A mixture of experts as ops: the router, the experts that a step's tokens are sent to, and the shared one.

Tokens are assumed to spread evenly: ``tokens x per_token`` visits go to as many experts as there can be, whose tokens
differ by at most one. Experts that no token visits are not read. One token visits ``per_token`` experts exactly.
"""

from quant.shapes import Experts, Gemm, ModelShape
from sim.trace.ops import Formats, LinearOp, Op, VectorOp
from sim.trace.statistics import Order, assumed_statistics

__all__ = ["GATE_OPERATIONS", "QUANTIZE_OPERATIONS", "even_visits", "mixture_ops"]

GATE_OPERATIONS = {"silu": 5, "relu2": 3, "gelu": 8}  # per element, see sim.trace.step
QUANTIZE_OPERATIONS = 2
_ROUTE_OPERATIONS = 5  # softmax over the experts' scores
_SUM_OPERATIONS = 2  # an expert's output times its share, added


def even_visits(experts: Experts, tokens: int) -> dict[int, int]:
    """How many experts get how many tokens: tokens -> experts, the busier first."""
    visits = tokens * experts.per_token
    visited = min(experts.count, visits)
    each, left = divmod(visits, visited)
    return {each + 1: left, each: visited - left} if left else {each: visited}


def mixture_ops(phase: Order, shape: ModelShape, tokens: int, formats: Formats) -> list[Op]:
    """Everything between the input of the router and the sum of the experts; none without experts."""
    experts, layers, hidden = shape.experts, shape.mixture_layers, shape.hidden_size
    if experts is None or not layers:
        return []
    wide = formats.residual_bits

    def vector(label: str, rows: int, width_in: int, width_out: int, operations: int) -> VectorOp:
        bits = {"input_bits": width_in * wide, "output_bits": width_out * wide}
        return VectorOp(name=label, count=layers, tokens=rows, operations=operations, **bits)

    def mlp(visits: dict[int, int], size: int) -> list[Op]:
        def linear(kind: str, n: int, k: int) -> list[Op]:
            return [
                LinearOp(
                    name=kind,
                    count=layers * number,
                    gemm=Gemm(rows, n, k),
                    statistics=assumed_statistics(phase, formats.zero_fraction),
                )
                for rows, number in visits.items()
            ]

        rows = sum(number * each for each, number in visits.items())
        gate = vector("gate", rows, 2 * size, size, GATE_OPERATIONS[shape.activation] * size)
        narrow = vector("quantize_down_proj_input", rows, size, size, QUANTIZE_OPERATIONS * size)
        narrow = narrow.model_copy(update={"output_bits": size * formats.activation_bits})
        return [
            *linear("gate_proj", size, hidden),
            *linear("up_proj", size, hidden),
            gate,
            *([narrow] if formats.activation_bits < wide else []),
            *linear("down_proj", hidden, size),
        ]

    router = LinearOp(name="router", count=layers, gemm=Gemm(tokens, experts.count, hidden))
    route = vector("routing", tokens, experts.count, experts.per_token, _ROUTE_OPERATIONS * experts.count)
    added = experts.per_token + (experts.shared_size is not None)
    total = vector("experts_sum", tokens, added * hidden, hidden, _SUM_OPERATIONS * added * hidden)
    shared: list[Op] = []
    if experts.shared_size is not None:
        shared = [LinearOp(name="shared_gate", count=layers, gemm=Gemm(tokens, 1, hidden))]
        shared += mlp({tokens: 1}, experts.shared_size)
    return [router, route, *mlp(even_visits(experts, tokens), experts.size), *shared, total]
