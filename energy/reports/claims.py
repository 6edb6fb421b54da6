"""The claims as tables and sentences, on ``docs/claims.md`` and on the screen."""

from collections.abc import Callable
from pathlib import Path

from energy.claims.document import COMPUTE_CLAIM, LATENCY_CLAIM, Claims, reaches, read_claims
from energy.claims.systems import RIVALS, SystemRow
from energy.reports.rows import percent, si
from hw.pages import markdown_table

__all__ = ["CLAIMS_FILE", "CLAIMS_TABLES", "compute_cells", "system_cells", "verdicts"]

CLAIMS_FILE = Path("docs") / "results" / "claims.json"

_COMPUTE_RIVALS = ("int8", "w4a8", "w2a8", "fp16")
_NOTHING = "-"

Table = tuple[list[str], list[list[str]]]  # header, rows


def verdicts(claims: Claims) -> list[str]:
    """Sentences that count where each figure holds."""
    found = []
    recipes = {"published": "operators alone, as papers add them up", "derived": "the same in lanes and trees"}
    for kind, what in recipes.items():
        rows = [row for row in claims.compute if row.kind == kind]
        found.append(f"{what}: {_count(sum(reaches(row.saved, COMPUTE_CLAIM) for row in rows), len(rows))}")
    for rival in _COMPUTE_RIVALS:
        rows = [row for row in claims.compute if row.kind == "measured" and row.rival == rival]
        if not rows:
            continue
        least, most = (percent(edge(row.saved for row in rows)) for edge in (min, max))
        counted = _count(sum(reaches(row.saved, COMPUTE_CLAIM) for row in rows), len(rows))
        found.append(f"gates against {rival}: {counted}, from {least} to {most}")
    for phase in ("prefill", "decode"):
        for rival in RIVALS:
            rows = [row for row in claims.systems if row.rival == rival and phase in row.latency]
            if rows:
                found.append(_system_verdict(rows, phase, rival))
    return found


def compute_cells(claims: Claims) -> Table:
    """One line per cost source, design and accumulator; savings against each rival."""
    places = dict.fromkeys(
        (row.costs, row.node_nm, row.kind, row.design, row.accumulator_bits)
        for row in claims.compute
        if row.accumulator_bits is not None
    )
    lines = []
    for place in places:
        saved = {
            row.rival: row.saved
            for row in claims.compute
            if (row.costs, row.node_nm, row.kind, row.design, row.accumulator_bits) == place
        }
        costs, node, kind, design, bits = place
        cells = [_bold(saved[rival], COMPUTE_CLAIM) if rival in saved else _NOTHING for rival in _COMPUTE_RIVALS]
        lines.append([costs, f"{node:g}", kind, design, str(bits), *cells])
    return ["costs", "nm", "kind", "design", "accumulator bits", *(f"vs {rival}" for rival in _COMPUTE_RIVALS)], lines


def system_cells(claims: Claims, phase: str, hold: str | None = None) -> Table:
    """One line per point and hold: latency, compute and system energy saved against each rival, as "a / b / c"."""
    places = dict.fromkeys(
        (row.model, row.context, row.batch, row.hold) for row in claims.systems if hold in (None, row.hold)
    )
    lines = []
    for place in places:
        rows = {row.rival: row for row in claims.systems if (row.model, row.context, row.batch, row.hold) == place}
        model, context, batch, held = place
        cells = [_system_cell(rows[rival], phase) if rival in rows else _NOTHING for rival in RIVALS]
        lines.append([model, f"{context:,}", str(batch), held, *cells])
    return ["model", "context", "batch", "held equal", *(f"vs {rival}" for rival in RIVALS)], lines


def _system_cell(row: SystemRow, phase: str) -> str:
    if phase not in row.latency:
        return _NOTHING
    saved = [
        _bold(row.latency[phase], LATENCY_CLAIM),
        _bold(row.compute_energy[phase], COMPUTE_CLAIM),
        percent(row.system_energy[phase]),
    ]
    return " / ".join(saved)


def _system_verdict(rows: list[SystemRow], phase: str, rival: str) -> str:
    faster = sum(reaches(row.latency[phase], LATENCY_CLAIM) for row in rows)
    cheaper = sum(reaches(row.compute_energy[phase], COMPUTE_CLAIM) for row in rows)
    slower = sum(row.latency[phase] < 0 for row in rows)
    system = [row.system_energy[phase] for row in rows]
    return (
        f"{phase} against {rival}, {len(rows)} machines: latency halves in {faster} and grows in {slower}, "
        f"{percent(COMPUTE_CLAIM)} of compute energy in {cheaper}, {percent(min(system))} to {percent(max(system))} "
        "of the whole system's energy"
    )


def _count(holds: int, of: int) -> str:
    return f"{percent(COMPUTE_CLAIM)} of compute energy in {holds} of {of}"


def _bold(share: float, claim: float) -> str:
    return f"**{percent(share)}**" if reaches(share, claim) else percent(share)


def _claims_table(cells: Callable[[Claims], Table]) -> Callable[[], str]:
    def table() -> str:
        header, rows = cells(read_claims(CLAIMS_FILE))
        return markdown_table(header, rows)

    return table


def _gpu(claims: Claims) -> Table:
    lines = []
    for row in claims.gpu:
        rate = f"{row.tokens_per_s:,.0f}" if row.tokens_per_s >= 1000 else f"{row.tokens_per_s:.4g}"
        place = row.machine, row.kind, row.phase, f"{row.context:,}", str(row.batch)
        lines.append([*place, rate, si(row.watts, "W"), si(row.j_per_token, "J")])
    return ["machine", "kind", "phase", "context", "batch", "tokens/s", "power", "J/token"], lines


def _recipes(claims: Claims) -> Table:
    rows = [row for row in claims.compute if row.kind == "published"]
    return ["costs", "recipe", "saved"], [[row.costs, row.recipe, _bold(row.saved, COMPUTE_CLAIM)] for row in rows]


def _verdict_list() -> str:
    return "\n".join(f"- {sentence}" for sentence in verdicts(read_claims(CLAIMS_FILE)))


def _refused() -> str:
    rows = [row for row in read_claims(CLAIMS_FILE).systems if row.reason]
    lines = [f"- {row.model}, {row.context:,} + 128, batch {row.batch}: {row.reason}" for row in rows]
    return "\n".join(lines) or "None."


CLAIMS_TABLES: dict[str, Callable[[], str]] = {
    "claims-verdicts": _verdict_list,
    "claims-recipes": _claims_table(_recipes),
    "claims-compute": _claims_table(compute_cells),
    "claims-prefill": _claims_table(lambda claims: system_cells(claims, "prefill")),
    "claims-decode": _claims_table(lambda claims: system_cells(claims, "decode")),
    "claims-gpu": _claims_table(_gpu),
    "claims-refused": _refused,
}
