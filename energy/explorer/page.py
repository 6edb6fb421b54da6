"""The explorer's page and its parts, rendered on the server: controls, verdict, figures, two designs side by side."""

import shlex
from functools import cache
from pathlib import Path
from typing import NamedTuple

from energy.difference import Difference
from energy.explorer.answers import Answer, difference_between, drawn, other_arrays, why_not
from energy.explorer.controls import Control, controls
from energy.explorer.exports import command_of
from energy.explorer.figures import area_figure, area_parts, map_figure
from energy.explorer.state import PIN, State, address
from energy.reports.difference import difference_sentences, difference_verdict
from energy.reports.numbers import significant, thin
from energy.reports.pages.document import legend, render
from energy.reports.pages.job_figures import (
    energy_figure,
    latency_figure,
    roofline_figure,
    shown_causes,
    shown_parts,
)
from energy.reports.rows import percent, si
from energy.reports.verdict import question, verdict

__all__ = ["asset", "map_html", "page_html", "refusal_html", "result_html", "why_not_json"]

_TEMPLATES = Path(__file__).parent / "templates"


class Row(NamedTuple):
    """A figure of two designs."""

    name: str
    pinned: str
    own: str
    change: str  # of this design against the pinned one


class Field(NamedTuple):
    """A control at its value."""

    control: Control
    value: object
    text: str
    is_default: bool

    @property
    def stops(self) -> list:
        """Stops of the slider; a value between two of them is one."""
        return sorted({*self.control.stops, self.value})

    @property
    def texts(self) -> list[str]:
        """What is read at each stop."""
        return [self.control.text(stop) for stop in self.stops]


def page_html(state: State, pinned: State | None, result: str) -> str:
    """The whole page around ``result``, which is ``result_html`` or ``refusal_html``."""
    values = state._asdict()
    fields = [Field(one, values[name], one.text(values[name]), values[name] == one.default)
              for name, one in controls().items()]  # fmt: skip
    groups = {group: [one for one in fields if one.control.group == group] for group in
              dict.fromkeys(one.control.group for one in fields)}  # fmt: skip
    return render(
        "explorer",
        _TEMPLATES,
        groups=groups,
        pin=PIN,
        pinned="" if pinned is None else address(pinned),
        has_pin=pinned is not None,
        query=address(state, pinned),
        result=result,
    )


def result_html(state: State, pinned: State | None) -> tuple[str, bool]:
    """Verdict and figures of ``state``, and beside ``pinned`` what makes the difference; whether that is all.

    Raises:
        InputError: a machine that cannot be.
    """
    answer = drawn(state)
    before = None if pinned is None else drawn(pinned)
    difference = None if pinned is None else difference_between(pinned, state)
    summary, missing = answer.summary, answer.missing
    phases = [phase.name for phase in summary.ternary.phases]
    body = render(
        "result",
        _TEMPLATES,
        refusal="",
        question=question(summary),
        verdict=verdict(summary) if answer.is_whole else verdict(summary)[:1],
        is_whole=answer.is_whole,
        latencies=[latency_figure(summary, name, missing) for name in phases],
        energies=[energy_figure(summary, name, missing) for name in phases],
        causes=legend(shown_causes(summary)),
        parts=legend(shown_parts(summary)),
        map=map_figure(answer, before, ()),
        area=area_figure(answer),
        area_parts=area_parts(),
        roofline=roofline_figure(answer.results),
        rows=[] if before is None else _rows(before, answer),
        sentences=[] if difference is None else [difference_verdict(difference), *difference_sentences(difference)],
        changed=[] if difference is None else _changed(difference),
        command=shlex.join(command_of(state)),
    )
    return body, answer.is_whole


def refusal_html(reason: str, state: State | None = None, pinned: State | None = None) -> str:
    """The place of the result where there is none; of a ``state`` that cannot be, with the changes that help."""
    return render("result", _TEMPLATES, refusal=reason, ways=[] if state is None else _ways_out(state, pinned))


def map_html(state: State, pinned: State | None) -> str:
    """The map with the other arrays on it, which takes longer than a redraw may.

    Raises:
        InputError: a machine that cannot be.
    """
    before = None if pinned is None else drawn(pinned)
    return str(map_figure(drawn(state), before, other_arrays(state)).svg)


def why_not_json(state: State) -> dict[str, list[list[str]]]:
    """Control -> value, words and reason of every choice that cannot be."""
    return {
        name: [[str(one.value), one.text, thin(one.reason)] for one in refused]
        for name, refused in why_not(state).items()
    }


@cache
def asset(name: str) -> str:
    """The style sheet or the script, which the page asks for by ``name``."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _ways_out(state: State, pinned: State | None) -> list[tuple[str, list[tuple[str, str]]]]:
    """Label of each control that alone can help -> words and address of its values that do."""
    ways = []
    for name, refused in why_not(state).items():
        control, bad = controls()[name], {one.value for one in refused}
        good = [(text, address(state._replace(**{name: value}), pinned))  # type: ignore[arg-type]
                for value, text in zip(control.stops, control.texts, strict=True) if value not in bad]  # fmt: skip
        if bad and good:
            ways.append((control.label, good))
    return ways


def _rows(before: Answer, after: Answer) -> list[Row]:
    """The figures that a person compares first."""
    one, other = before.summary.ternary, after.summary.ternary
    rows = []
    for phase, speed in (("prefill", "prompt tokens/s"), ("decode", "tokens/s")):
        a, b = one.phase(phase), other.phase(phase)
        if phase == "prefill":
            rows.append(_row("time to first token", a.seconds, b.seconds, "s"))
        else:
            rows.append(_row(f"{phase}, {speed}", a.tokens_per_s, b.tokens_per_s, ""))
        energies = a.total_j_per_token.typical, b.total_j_per_token.typical
        rows.append(_row(f"{phase}, energy per token", *energies, "J"))
    if one.area and other.area:
        rows.append(_row("area, mm²", one.area.total.typical, other.area.total.typical, ""))
    return rows


def _row(name: str, a: float, b: float, unit: str) -> Row:
    texts = [thin(si(value, unit)) if unit else significant(value) for value in (a, b)]
    change = "as much" if abs(b / a - 1) < 5e-4 else f"{'+' if b > a else '−'}{thin(percent(abs(b / a - 1)))}"
    return Row(name, *texts, change)


def _changed(difference: Difference) -> list[str]:
    """Fields that differ, in words."""
    return [f"{field.name}: {field.a} → {field.b}" for field in difference.fields]
