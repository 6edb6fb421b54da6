"""What a study answers: the designs of its front that are worth building, and what each gives up, in sentences."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from energy.reports.numbers import significant, thin
from energy.reports.study import figure_text, value_text
from energy.study.document import Study
from energy.study.metrics import HIGH, LOW, RIVAL, SAVED
from energy.study.points import StudyPoint
from energy.study.ranges import equal
from energy.study.result import StudyResult

__all__ = ["LETTERS", "Design", "answer", "axes_text", "designs", "designs_text", "figures_text", "metric_title"]

LETTERS = "ABC"  # of the designs, in their order

_EQUAL = 1.005  # times the best: a design within is as good
_ENDINGS = {  # of metrics' names -> words; the longer ones first
    "_tokens_per_s_per_mm2": "speed per area",
    "_tokens_per_s_per_w": "speed per power",
    "_tokens_per_s": "speed",
    "edp_j_s": "energy-delay product",
    "_s_per_token": "time per token",
    "_j_per_token": "energy per token",
    "_j_per_request": "energy per request",
    "_s": "time",
    "_w": "",
    "_mm2": "",
    "_bytes": "",
}


_BESIDE = {SAVED: "saved against", RIVAL: "of"}  # figures of rivals


class Design(NamedTuple):
    """A design of the front that is worth building, and for what."""

    point: StudyPoint
    why: str


def designs(result: StudyResult) -> list[Design]:
    """The best of each objective, and of two objectives the compromise; each design once, at most three.

    The compromise is the point of the front that is nearest to the best of every objective at once, each in its
    logarithm over the front's range.
    """
    study, front = result.study, result.front
    if not front:
        return []
    found: dict[int, list[str]] = {}
    for name in study.objectives:
        best = min(front, key=lambda point: _cost(study, point, name))
        found.setdefault(front.index(best), []).append(f"{_sense(study, name)} {metric_title(study, name)}")
    if len(study.objectives) == 2 and len(front) > 2:
        found.setdefault(front.index(_compromise(study, front)), []).append("the compromise")
    return [Design(front[index], " and ".join(whys)) for index, whys in found.items()]


def answer(result: StudyResult) -> str:
    """The designs, what each is for and what it gives up, and whether their ranges overlap."""
    study, named = result.study, designs(result)
    if not named:
        return "No combination can be built, run and meet every constraint; the reasons stand below."
    if len(named) == 1:
        return f"Build A ({axes_text(named[0].point)}): it is best in every objective."
    parts = [
        f"{letter} for {one.why}{_given_up(study, one, result.front)}"
        for letter, one in zip(LETTERS, named, strict=False)
    ]
    return f"Worth building: {'; '.join(parts)}.{_alike(study, named)}"


def designs_text(result: StudyResult) -> list[str]:
    """What each letter of the answer stands for: ``A: batch 4 (user time per token 2 ms, ...)``."""
    return [
        f"{letter}: {axes_text(one.point)} ({figures_text(result.study, one.point)})"
        for letter, one in zip(LETTERS, designs(result), strict=False)
    ]


def _given_up(study: Study, design: Design, front: Sequence[StudyPoint]) -> str:
    """How far it is from the best in the other objectives: ``, at 12.2 times the least user time per token``."""
    told = []
    for name in study.objectives:
        best = min(front, key=lambda point: _cost(study, point, name)).metrics[name] or 0.0
        own = design.point.metrics[name] or 0.0
        times = (own / best if name in study.minimize else best / own) if own and best else 1.0
        if times > _EQUAL:
            what = f"the {_sense(study, name)} {metric_title(study, name)}"
            told.append(
                f"{significant(times)} times {what}" if name in study.minimize else f"1/{significant(times)} of {what}"
            )
    return f", at {' and '.join(told)}" if told else ""


def _alike(study: Study, named: Sequence[Design]) -> str:
    """Which of the designs cannot be told apart, and in what."""
    told = []
    for name in study.objectives:
        pairs = [
            f"{LETTERS[a]} and {LETTERS[b]}"
            for a, b in combinations(range(len(named)), 2)
            if equal(study, named[a].point, named[b].point, name)
        ]
        if pairs:
            told.append(f"{', '.join(pairs)} are equal in {metric_title(study, name)}")
    return f" From low to high costs, {'; '.join(told)}." if told else ""


def _compromise(study: Study, front: list[StudyPoint]) -> StudyPoint:
    logs = [[math.log(max(abs(point.metrics[name] or 0.0), 1e-300)) for point in front] for name in study.objectives]
    spans = [(min(values), (max(values) - min(values)) or 1.0) for values in logs]

    def distance(index: int) -> float:
        total = 0.0
        for name, values, (low, span) in zip(study.objectives, logs, spans, strict=True):
            part = (values[index] - low) / span
            total += (part if name in study.minimize else 1 - part) ** 2
        return total

    return front[min(range(len(front)), key=distance)]


def _cost(study: Study, point: StudyPoint, name: str) -> float:
    value = point.metrics[name] or 0.0
    return value if name in study.minimize else -value


def metric_title(study: Study, metric: str) -> str:
    """A metric in words, without its unit: ``user time per token``; a derived one by its name."""
    if metric in study.derived:
        return metric.replace("_", " ")
    kind, _, rest = metric.partition(".")
    if kind in _BESIDE:
        mac, _, name = rest.partition(".")
        return f"{metric_title(study, name)} {_BESIDE[kind]} {mac.upper()}"
    for ending, words in _ENDINGS.items():
        if metric == ending.lstrip("_") or metric.endswith(ending):
            stem = "" if metric == ending.lstrip("_") else metric.removesuffix(ending)
            return f"{stem} {words}".replace("_", " ").strip()
    return metric.replace("_", " ")


def _sense(study: Study, name: str) -> str:
    return "least" if name in study.minimize else "most"


def axes_text(point: StudyPoint) -> str:
    """What the axes of a point say: ``memory hbm2-2000, batch 4``."""
    return ", ".join(f"{name} {value_text(value)}" for name, value in point.values.items())


def figures_text(study: Study, point: StudyPoint) -> str:
    """Objectives and derived metrics of a point, each with its unit and its range where it has one."""
    metrics, parts = point.metrics, []
    for name in dict.fromkeys((*study.objectives, *study.derived)):
        unit, value, title = study.unit(name), metrics[name], metric_title(study, name)
        if value is None:
            continue
        text = f"{title} {figure_text(value, unit, whole=unit not in title.split())}"
        low, high = metrics.get(name + LOW), metrics.get(name + HIGH)
        if low is not None and high is not None:
            text += f" ({figure_text(low, unit)} to {figure_text(high, unit)})"
        parts.append(text)
    return thin(", ".join(parts))
