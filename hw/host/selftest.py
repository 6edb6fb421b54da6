"""Self-test of a board: products of every shape class against the golden model, and counters that must add up."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hw.config import ArrayConfig
from hw.division import ceil_divide
from hw.golden import gemm
from hw.host.protocol import CAUSES
from hw.host.session import Session

__all__ = ["Case", "Verdict", "cases", "run_case"]

_SEED = 20


@dataclass(frozen=True)
class Case:
    """One product with the name of what it tries."""

    name: str
    q: np.ndarray  # int8 (m, k)
    trits: np.ndarray  # int8 (n, k)


@dataclass(frozen=True)
class Verdict:
    """What became of a case: ``fault`` is empty when all is well."""

    name: str
    m: int
    n: int
    k: int
    fault: str
    counters: dict[str, int]


def cases(config: ArrayConfig) -> Iterator[Case]:
    """One tile, edge tiles, several folds, columns and token tiles, the extremes, and an all-zero product."""
    rng = np.random.default_rng(_SEED)
    rows, cols, tokens = config.rows, config.cols, config.token_tile
    shapes = {
        "one lane": (1, 1, 1),
        "one tile": (2, cols, rows),
        "edge tiles": (3, cols + 1, rows + 1),
        "several folds": (2, cols, 3 * rows),
        "several token tiles": (tokens + 1, 1, 1),
    }
    for name, (m, n, k) in shapes.items():
        yield Case(name, rng.integers(-127, 128, (m, k), dtype=np.int8), rng.integers(-1, 2, (n, k), dtype=np.int8))
    yield Case("largest sums", np.full((1, 2 * rows), 127, np.int8), np.full((cols, 2 * rows), -1, np.int8))
    yield Case("zero trits", np.full((1, rows), -127, np.int8), np.zeros((cols, rows), np.int8))


def run_case(session: Session, case: Case) -> Verdict:
    """Compute ``case`` on the device and hold its sums against ``hw.golden.gemm`` and its counters against each other.

    Every accepted vector is one ideal cycle: m vectors per column tile and fold.

    Raises:
        LinkError: the link fails.
    """
    (m, k), n, config = case.q.shape, len(case.trits), session.config
    product = session.gemm(case.q, case.trits)
    wrong = np.argwhere(product.results != gemm(case.q, case.trits))
    counters = product.counters
    ideal = m * ceil_divide(n, config.cols) * ceil_divide(k, config.rows)
    fault = ""
    if len(wrong):
        i, j = wrong[0]
        golden = gemm(case.q[i : i + 1], case.trits[j : j + 1])[0, 0]
        fault = f"{len(wrong)} sums differ, first token {i} output {j}: {product.results[i, j]} instead of {golden}"
    elif counters["ideal"] != ideal:
        fault = f"{counters['ideal']} ideal cycles instead of {ideal}"
    elif sum(counters[cause] for cause in CAUSES) != counters["cycles"]:
        fault = f"the causes {counters} do not add up to the cycles"
    return Verdict(case.name, m, n, k, fault, counters)
