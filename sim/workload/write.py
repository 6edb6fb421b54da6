"""Products as files that other simulators read: plain CSV, SCALE-Sim's GEMM topology, ZigZag's list of layers."""

from collections.abc import Callable
from pathlib import Path

from hw.artifact import write_text
from hw.errors import InputError
from sim.workload.products import Product, Workload

__all__ = ["FORMATS", "write_workload"]

_MOST_ROWS = 100_000  # of formats without a count, which repeat a product


def write_workload(path: Path, workload: Workload, form: str) -> None:
    """Write ``workload`` to ``path``.

    Raises:
        InputError: more rows than a format without counts should hold.
    """
    write_text(path, FORMATS[form](workload))


def _csv(workload: Workload) -> str:
    rows = [f"{one.name},{one.m},{one.n},{one.k},{one.count}\n" for one in workload.products]
    return "name,m,n,k,count\n" + "".join(rows)


def _scale_sim(workload: Workload) -> str:
    """A row per product, as the topology has no count; commas end rows, as its reader drops the last cell."""
    rows = [f"{name},{one.m},{one.n},{one.k},\n" for name, one in _repeated(workload)]
    return "Layer,M,N,K,\n" + "".join(rows)


def _zigzag(workload: Workload) -> str:
    """Layers in YAML as ZigZag's validator wants them; each takes the output of the one before as input."""
    return "\n".join(_layer(number, name, one) for number, (name, one) in enumerate(_repeated(workload)))


def _layer(number: int, name: str, product: Product) -> str:
    sources = f"    I: {max(number - 1, 0)}\n    W: {number}\n"
    return (
        f"- id: {number}\n"
        f"  name: {name}\n"
        "  operator_type: Gemm\n"
        "  equation: O[b][k]+=W[k][c]*I[b][c]\n"
        "  loop_dims: [B, K, C]\n"
        f"  loop_sizes: [{product.m}, {product.n}, {product.k}]\n"
        "  operand_precision:\n    W: 8\n    I: 8\n    O: 32\n    O_final: 8\n"
        f"  operand_source:\n{sources}"
    )


def _repeated(workload: Workload) -> list[tuple[str, Product]]:
    total = sum(one.count for one in workload.products)
    if total > _MOST_ROWS:
        raise InputError(
            f"{workload.source}: must have at most {_MOST_ROWS} products in a format without counts, not {total}; "
            "write format csv, or leave attention out"
        )
    return [
        (one.name if one.count == 1 else f"{one.name}_{number}", one)
        for one in workload.products
        for number in range(one.count)
    ]


FORMATS: dict[str, Callable[[Workload], str]] = {"csv": _csv, "scale-sim": _scale_sim, "zigzag": _zigzag}
