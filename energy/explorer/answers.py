"""What a state comes to: its machines simulated, remembered by what each run depends on; and which choices cannot be.

A change of costs, of the share of zeros or of what is held equal repeats few runs or none: a rival that was simulated
is recalled, whatever it is priced with. A state that was seen is not even priced again. Within the limit of a redraw
(``energy.explorer.limit``) the design comes first, its rivals as they are finished, and last what makes the savings.
"""

from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import NamedTuple

from energy.costs.sources import load_source
from energy.designs import Design
from energy.difference import Difference, difference_of
from energy.explorer.controls import Value, controls
from energy.explorer.limit import Overtime, Runs, counted_runs, run
from energy.explorer.state import RIVALS, State, fields_of, job_of, rivals_of
from energy.job import Job, simulate_machines
from energy.summary import JobSummary, summarize
from hw.config import ArrayConfig, load_array
from hw.document import validate_document
from hw.errors import InputError
from quant.manifest import Manifest
from quant.shapes import ModelShape, load_shape
from sim.memory import load_memory
from sim.residence import check_residence
from sim.result import SimResult
from sim.trace.build import Trace, TraceStatistics, build_trace

__all__ = ["Answer", "WhyNot", "answer_of", "difference_between", "drawn", "other_arrays", "why_not"]

_RUNS = 2000  # remembered, of some 20 kB each
_ANSWERS = 300

_UNSIMULATED = {"costs", "fpga", "sram_cells"}  # fields of a job that its run does not depend on, its array given


class Answer(NamedTuple):
    """A state's machines, the ternary one first."""

    state: State
    summary: JobSummary
    results: list[SimResult]
    missing: tuple[str, ...] = ()  # rivals that are not simulated yet
    is_whole: bool = True  # False: what makes the savings is not simulated yet, nor are ``missing``


class WhyNot(NamedTuple):
    """A choice that does not go with the others."""

    value: Value
    text: str
    reason: str


class _RecallingJob(Job):
    """A job whose runs are remembered."""

    def simulate(
        self,
        shape: ModelShape,
        array: ArrayConfig,
        manifest: Manifest | None = None,
        statistics: TraceStatistics | None = None,
    ) -> SimResult:
        """As ``Job`` does; a run of equal inputs is the same object."""
        if manifest is not None or statistics is not None:
            return super().simulate(shape, array, manifest, statistics)
        key = (shape.name, repr(self.model_dump(exclude=_UNSIMULATED)), array.model_dump_json())
        result = run(_runs.get(key), array.lanes, partial(super().simulate, shape, array))
        _runs[key] = result
        _runs.move_to_end(key)
        if len(_runs) > _RUNS:
            _runs.popitem(last=False)
        return result


_shape = lru_cache(load_shape)
_runs: OrderedDict[tuple[str, str, str], SimResult] = OrderedDict()


@lru_cache(_ANSWERS)
def answer_of(state: State) -> Answer:
    """Simulate ``state`` and its rivals.

    Raises:
        InputError: machines, sizes or rivals that cannot be.
    """
    job = validate_document(fields_of(state), _RecallingJob, "explorer")
    return Answer(state, *simulate_machines(job, _shape(state.model), None, rivals_of(state)))


def drawn(state: State) -> Answer:
    """``answer_of`` the state, or as much of it as could be simulated within the limit of the request.

    Raises:
        InputError: as ``answer_of``.
    """
    with counted_runs() as runs:
        try:
            return answer_of(state)
        except Overtime:
            return _so_far(state, runs)


def _so_far(state: State, runs: Runs) -> Answer:
    """The machines whose runs are finished: those of both phases, not of a rival that is being sized or narrowed."""
    job, first = job_of(state), runs.finished[0]
    whole = [one for one in runs.finished if len(one.phases) == len(first.phases) and type(one.array) is ArrayConfig]
    results = list({one.array.mac: one for one in whole}.values())
    costs = load_source(job.costs)
    summary = summarize(results, costs, [], None, hold=state.hold, fpga=job.counted_fpga)  # type: ignore[arg-type]
    found = {one.array.mac for one in results}
    return Answer(state, summary, results, tuple(mac for mac in RIVALS.split(",") if mac not in found), False)


@lru_cache(_ANSWERS)
def difference_between(pinned: State, state: State) -> Difference:
    """What makes ``state`` differ from ``pinned``, term by term.

    Raises:
        InputError: either cannot be.
    """
    names = ("pinned", "this design")
    designs = [
        Design(name, drawn(one).results[0], load_source(one.costs), True, "")
        for name, one in zip(names, (pinned, state), strict=True)
    ]
    return difference_of(*designs)


def other_arrays(state: State) -> list[Answer]:
    """The other arrays of the page in this state's place, those that can be."""
    found = []
    for array in controls()["array"].stops:
        if array != state.array:
            try:
                found.append(_alone(state._replace(array=str(array))))
            except InputError:
                continue
    return found


@lru_cache(_ANSWERS)
def _alone(state: State) -> Answer:
    """``state`` without rivals."""
    job = validate_document(fields_of(state), _RecallingJob, "explorer")
    costs = load_source(job.costs)
    result = job.simulate(_shape(state.model), costs.clocked(job.load_array()))
    return Answer(state, summarize([result], costs, [], None), [result])


@lru_cache(_ANSWERS)
def why_not(state: State) -> dict[str, list[WhyNot]]:
    """Control -> its values that do not go with the others, each with its reason; nothing is simulated."""
    return {name: list(_refused(state, name)) for name in ("model", "array", "memory", "kv")}


def _refused(state: State, name: str) -> Iterator[WhyNot]:
    control = controls()[name]
    for value, text in zip(control.stops, control.texts, strict=True):
        one = state._replace(**{name: value})  # type: ignore[arg-type]
        try:
            trace, array = _trace(one.model, one.prompt, one.batch, one.array, one.kv)
            check_residence(trace, array, load_memory(one.memory))
        except InputError as error:
            yield WhyNot(value, text, str(error))


@lru_cache(_ANSWERS)
def _trace(model: str, prompt: int, batch: int, array_name: str, kv: str) -> tuple[Trace, ArrayConfig]:
    """What is run, which depends on some of the controls alone."""
    state = State.default()._replace(model=model, prompt=prompt, batch=batch, array=array_name, kv=kv)
    job, shape, array = job_of(state), _shape(model), load_array(array_name)
    return build_trace(shape, *job.sizes, job.formats(array, shape), execution=job.execution), array
