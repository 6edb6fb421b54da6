"""The verdict of a job in two sentences, losses as plainly as wins, and what was asked and held equal in one line.

Every number of a sentence is one of ``JobSummary``; a phrase that rests on an assumption names it by its key.
"""

from typing import NamedTuple

from energy.reports.numbers import THIN, significant
from energy.reports.rows import percent, si
from energy.summary import JobSummary, MachineSummary, PhaseSummary, Quality, Reduction
from quant import manifest

__all__ = ["Phrase", "collapse", "machine_label", "plain", "question", "verdict"]

_EQUAL = 0.005  # differences below half a per cent are none

_MACHINES = {
    "ternary": "ternary",
    "int8": "INT8",
    "fp16": "FP16",
    "w4a8": "INT8 with 4-bit weights",
    "w2a8": "INT8 with 2-bit weights",
    "w4a16": "FP16 with 4-bit weights",
}
_HELD = {
    "lanes": "the same {lanes} lanes",
    "compute-area": "the same area of array and vector unit",
    "area": "the same silicon area{area}",
    "power": "the same power on the chip in prefill",
    "bandwidth": "the same memory, rivals with the fewest lanes whose prefill is as fast",
}


class Phrase(NamedTuple):
    """A piece of a sentence; ``mark``: key of the assumption on which it rests."""

    text: str
    strong: bool = False
    mark: str = ""


def machine_label(mac: str) -> str:
    """A machine's arithmetic in words."""
    return _MACHINES.get(mac, mac)


def question(summary: JobSummary) -> list[str]:
    """Model and sizes, what is held equal, memory, costs: parts of one line."""
    array = summary.ternary
    area = f" ({array.area.total.typical:.3g} mm²)" if array.area else ""
    return [
        f"{summary.model}, {summary.prefill} + {summary.decode} tokens, batch {summary.batch}"
        if summary.prefill
        else f"{summary.model}, {len(array.phases[0].ops)} products",
        _HELD[summary.hold].format(lanes=array.lanes, area=area),
        f"{summary.memory} ({si(summary.memory_bytes_per_s, 'B/s')})",
        f"{si(summary.clock_hz, 'Hz')}, costs {summary.costs}",
    ]


def verdict(summary: JobSummary) -> list[list[Phrase]]:
    """Two sentences: what each machine does, then why, with every phase and rival that the machine loses to."""
    phase = "decode" if summary.decode else summary.ternary.phases[0].name
    return [_figures(summary, phase), [*_why(summary, phase), *_losses(summary)]]


def plain(sentences: list[list[Phrase]]) -> str:
    """The sentences without marks."""
    return " ".join("".join(phrase.text for phrase in sentence) for sentence in sentences).replace(THIN, " ")


def collapse(quality: Quality | None) -> float | None:
    """How many times the unquantized model's perplexity the quantized one has, where that is a collapse."""
    return None if quality is None else manifest.collapse(quality.perplexity)


def _figures(summary: JobSummary, phase: str) -> list[Phrase]:
    own, *rivals = summary.machines
    verb = {"decode": "writes", "pass": "makes"}.get(phase, "reads")
    shown = [f"{machine_label(rival.mac)} {_pace(rival.phase(phase), full=False)}" for rival in rivals]
    return [
        Phrase(f"{_capital(machine_label(own.mac))} {verb} "),
        Phrase(_pace(own.phase(phase)), strong=True, mark="dram"),
        Phrase("".join(f"; {one}" if number == 0 else f", {one}" for number, one in enumerate(shown)) + "."),
    ]


def _why(summary: JobSummary, phase: str) -> list[Phrase]:
    """Against the first rival, and against the one that comes closest, if that is another."""
    items = {rival.name: _of(_reductions(summary, rival), phase) for rival in summary.machines[1:]}
    if not items:
        return [Phrase("There is no rival to compare it with")]
    first, closest = summary.machines[1], min(summary.machines[1:], key=lambda one: items[one.name].system_energy)
    mark = "" if _operands_measured(summary, phase) else f"operands-{phase}"
    phrases = _saving(items[first.name], machine_label(first.mac), mark)
    if closest is not first:
        phrases += [Phrase("; "), *_saving(items[closest.name], machine_label(closest.mac), mark)]
    return [phrases[0]._replace(text=_capital(phrases[0].text)), *phrases[1:]]


def _operands_measured(summary: JobSummary, phase: str) -> bool:
    """Whether zeros and toggles of the operands, on which the arithmetic's energy rests, were replayed."""
    return all(one.measured for name, one in summary.statistics.items() if name.startswith(f"{phase} "))


def _saving(item: Reduction, rival: str, mark: str) -> list[Phrase]:
    """``mark``: the assumption under the arithmetic's share, if it is one."""
    saved, token = item.system_energy, "pass" if item.phase == "pass" else "token"
    if abs(saved) < _EQUAL:
        return [Phrase(f"it takes as much energy per {token} as {rival}")]
    if saved < 0:
        return [Phrase(f"it takes {percent(-saved)} more energy per {token} than {rival}")]
    phrases = [Phrase(f"against {rival} it saves "), Phrase(percent(saved), strong=True), Phrase(" of the energy")]
    if item.split is not None:
        bits, arithmetic = item.split.fewer_bits / saved, item.split.arithmetic / saved
        how = f"{percent(arithmetic)} by arithmetic" if arithmetic >= 0 else "none by arithmetic, which takes more"
        phrases.append(Phrase(f", {percent(bits)} of that by fewer bits of weights and {how}", mark=mark))
    return phrases


def _losses(summary: JobSummary) -> list[Phrase]:
    """Where a rival is faster or takes less energy, in all phases."""
    lost = []
    for rival in summary.machines[1:]:
        found = []
        for item in _reductions(summary, rival):
            if item.latency <= -_EQUAL:
                found.append(f"its {item.phase} is {percent(-item.latency)} slower")
            if item.system_energy <= -_EQUAL:
                found.append(f"its {item.phase} takes {percent(-item.system_energy)} more energy")
        if found:
            lost.append(f"against {machine_label(rival.mac)} {' and '.join(found)}")
    if lost:
        return [Phrase("; but "), Phrase(", ".join(lost), strong=True), Phrase(".")]
    where = ", in either phase" if len(summary.ternary.phases) > 1 else ""
    return [Phrase(f"; no rival is faster or takes less energy{where}." if summary.reductions else ".")]


def _reductions(summary: JobSummary, rival: MachineSummary) -> list[Reduction]:
    """What is saved against ``rival``, phase by phase."""
    phases = len(summary.ternary.phases)
    first = phases * (summary.machines.index(rival) - 1)
    return summary.reductions[first : first + phases]


def _of(items: list[Reduction], phase: str) -> Reduction:
    return next(item for item in items if item.phase == phase)


def _pace(phase: PhaseSummary, full: bool = True) -> str:
    """``29.6 tokens/s at 104 mJ per token``, or ``6.92 at 444 mJ``."""
    speed, energy = significant(phase.tokens_per_s), si(phase.total_j_per_token.typical, "J")
    unit = {"decode": "tokens/s", "pass": "passes/s"}.get(phase.name, "prompt tokens/s")
    return f"{speed} {unit} at {energy} per {phase.unit}" if full else f"{speed} at {energy}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
