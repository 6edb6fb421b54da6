"""Rewrites of a step's ops: projections fused into one GEMM, and a prompt's chunk piggybacked on decode.

Ref: Agrawal et al., SARATHI (arXiv 2308.16369), chunked prefills with piggybacked decodes.
"""

from sim.trace.ops import AttentionOp, LinearOp, Op

__all__ = ["fuse_projections", "piggyback"]

_SUMMED_FIELDS = ("scale_bits", "float_macs", "int8_macs", "side_bits")
_FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))  # linears of one input


def piggyback(decode: list[Op], prefill: list[Op]) -> list[Op]:
    """One step that does both: tokens of both pass each linear together, attention of both runs sequentially.

    The lists name the same ops in the same order. Statistics of the linears are those of ``prefill``, where weights
    rest while tokens pass.
    """
    mixed: list[Op] = []
    for one, other in zip(decode, prefill, strict=True):
        if isinstance(one, AttentionOp):
            mixed += [one, other]
        elif isinstance(one, LinearOp):
            gemm = one.gemm._replace(m=one.gemm.m + other.gemm.m)
            mixed.append(other.model_copy(update={"gemm": gemm}))
        else:
            mixed.append(one.model_copy(update={"tokens": one.tokens + other.tokens}))
    return mixed


def fuse_projections(ops: list[Op]) -> list[Op]:
    """Join the linears that read one input where they are alike: q, k and v, and gate and up.

    The joined statistics are means weighted by the number of weights.
    """
    fused: list[Op] = []
    for op in ops:
        last = fused[-1] if fused else None
        together = next((kinds for kinds in _FUSED if op.name in kinds), ())
        if (
            isinstance(op, LinearOp)
            and isinstance(last, LinearOp)
            and last.name.rpartition("+")[2] in together
            and op.name != together[0]
            and _fusion_key(op) == _fusion_key(last)
            and not op.permuted  # every linear has an order of its own
        ):
            fused[-1] = _joined(last, op)
        else:
            fused.append(op)
    return fused


def _fusion_key(op: LinearOp) -> tuple:
    """What two linears must have in common to run as one GEMM."""
    planes = op.planes, op.plane_columns
    return op.count, op.gemm.m, op.gemm.k, planes, op.group, op.scale_groups, op.offset_groups, op.permuted


def _joined(a: LinearOp, b: LinearOp) -> LinearOp:
    n = a.gemm.n + b.gemm.n
    statistics = a.statistics
    if a.statistics is not None and b.statistics is not None:
        rates = {
            field: (getattr(a.statistics, field) * a.gemm.n + getattr(b.statistics, field) * b.gemm.n) / n
            for field in ("zero_fraction", "toggle_rate", "input_toggle_rate")
        }
        statistics = a.statistics.model_copy(update=rates)
    gemm = a.gemm._replace(n=n)
    side = {name: getattr(a, name) + getattr(b, name) for name in _SUMMED_FIELDS}
    return a.model_copy(update={"name": f"{a.name}+{b.name}", "gemm": gemm, "statistics": statistics} | side)
