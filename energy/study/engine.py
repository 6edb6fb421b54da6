"""Points of a study measured, here or by several processes; each process reads a document and steps a GEMM once."""

import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from multiprocessing import get_context

from energy.study.axes import Value
from energy.study.cluster import Cluster
from energy.study.document import Study
from energy.study.journal import Journal
from energy.study.machine import Catalog
from energy.study.metrics import figures_of
from energy.study.points import StoredPoints
from energy.study.result import Judge, Measured, StudyResult, marked
from energy.study.search import Search, Searcher
from energy.study.setting import StudyJob
from hw.artifact import sha256_json, tool_version
from hw.errors import InputError
from hw.process.threads import usable_cpus

__all__ = ["measure", "processes_for", "run_study"]

_log = logging.getLogger(__name__)

_CHUNK = 32  # points that travel together, neighbours, so that GEMMs recur within them
_CLUSTER_CHUNK = 16  # of a cluster, whose workers may be lost with what they have in hand
_MOST_ALIKE = 128  # points of one simulation that are left together, whatever the size of a chunk
_AHEAD = 2  # chunks per process that wait, so that none idles and memory stays flat
_WORTH_TRIALS = 8  # of a generation, per process
_WORTH_POINTS = 256  # below, the start of processes takes longer than the points

Point = dict[str, Value]

_catalog = Catalog()  # of a worker process


def run_study(
    study: Study,
    origin: str,
    tick: Callable[[int, int], None] = lambda done, total: None,
    processes: int | None = 1,
    journal: Journal | None = None,
    cluster: Cluster | None = None,
) -> StudyResult:
    """Measure every combination; ``tick(done, total)`` is called as rows arrive.

    ``processes`` None: ``processes_for`` the study. ``cluster``: its workers measure in place of processes.
    ``journal``: rows found there are not measured again, and new ones are kept there when this is interrupted.

    Raises:
        InputError: a name in the study that is unknown. A combination that cannot work is a row with its reason.
    """
    study.check_documents(origin)
    processes = processes_for(study) if processes is None else processes
    if study.search is not None:
        return _searched(study, study.search, tick, cluster or processes, journal)
    judge, values_of = Judge(study), study.numbered()
    points = StoredPoints(study.figures, study.points, values_of)
    done = 0

    def keep(number: int, row: Measured) -> None:
        nonlocal done
        points.put(number, judge.point(values_of(number), row))
        done += 1
        tick(done, study.points)

    for number, row in _known_rows(study, journal):
        keep(number, row)
    _log.info("study %s: %d points, %d of them kept from an interrupted run", study.name, study.points, done)
    pending = ((number, values) for number, values in enumerate(study.combinations()) if not points.holds(number))
    try:
        for chunk in _measured(study.base, pending, cluster or processes, study.alike):
            if journal:
                journal.add(row for _, row in chunk)
            for number, row in chunk:
                keep(number, row)
    finally:
        if journal:
            journal.close()
    return marked(study, points)


def processes_for(study: Study) -> int:
    """One per processor for a study that is long enough to repay their start, else this process alone."""
    points = study.search.trials if study.search else study.points
    return usable_cpus() if points >= _WORTH_POINTS else 1


def _searched(
    study: Study, search: Search, tick: Callable[[int, int], None], processes: int | Cluster, journal: Journal | None
) -> StudyResult:
    """The rows of the points that a search proposes, each once."""
    searcher, judge, catalog = Searcher(study, search), Judge(study), Catalog()
    kept = journal.rows if journal else {}
    rows: dict[tuple, tuple[Point, Measured]] = {}

    def measured(points: Iterable[Point]) -> None:
        ordered = ({name: point[name] for name in study.columns} for point in points)
        new = {tuple(point.values()): point for point in ordered}
        new = {key: point for key, point in new.items() if key not in rows}
        for key, point in new.items():
            if row := kept.get(_inputs_sha256(study.base, point, catalog)) if kept else None:
                rows[key] = point, row
        pending = [point for key, point in new.items() if key not in rows]
        worth = min(processes, len(pending) // _WORTH_TRIALS + 1) if isinstance(processes, int) else processes
        for chunk in _measured(study.base, enumerate(pending), worth):
            if journal:
                journal.add(row for _, row in chunk)
            for index, row in chunk:
                rows[tuple(pending[index].values())] = pending[index], row

    def objectives(point: Point) -> list[float] | None:
        judged = judge.point(*rows[tuple(point[name] for name in study.columns)])
        return [judged.metrics[name] for name in study.objectives] if judged.feasible else None  # type: ignore[misc]

    try:
        measured(searcher.known())
        tick(searcher.told, search.trials)
        while generation := searcher.generation():
            measured(generation)
            searcher.tell(objectives)
            tick(searcher.told, search.trials)
    finally:
        if journal:
            journal.close()
    proposed = [point for point, _ in rows.values()]
    points = StoredPoints(study.figures, len(proposed), proposed.__getitem__)
    for number, (point, row) in enumerate(rows.values()):
        points.put(number, judge.point(point, row))
    return marked(study, points)


def measure(base: StudyJob, values: Point, catalog: Catalog) -> Measured:
    """One point: its figures, or why it has none."""
    try:
        machine = catalog.machine(base, values)
    except InputError as error:
        return Measured(sha256=_sha256_of_values(base, values), reason=str(error))
    try:
        return Measured(sha256=machine.sha256, figures=figures_of(machine, catalog))
    except InputError as error:
        return Measured(sha256=machine.sha256, reason=str(error))


def _known_rows(study: Study, journal: Journal | None) -> Iterator[tuple[int, Measured]]:
    """Rows of ``journal`` with the numbers of their points."""
    if journal is None or not journal.rows:
        return
    catalog = Catalog()
    for number, values in enumerate(study.combinations()):
        if row := journal.rows.get(_inputs_sha256(study.base, values, catalog)):
            yield number, row


def _inputs_sha256(base: StudyJob, values: Point, catalog: Catalog) -> str:
    """Hash of what a point's row depends on: its machine, or its values where they make none."""
    try:
        return catalog.machine(base, values).sha256
    except InputError:
        return _sha256_of_values(base, values)


def _sha256_of_values(base: StudyJob, values: Point) -> str:
    return sha256_json({"version": tool_version(), "base": base.model_dump(mode="json"), "values": values})


def _measured(
    base: StudyJob, points: Iterator[tuple[int, Point]], processes: int | Cluster, alike: int = 1
) -> Iterator[list[tuple[int, Measured]]]:
    """Rows of ``points`` with their numbers, in chunks, in the order in which they are finished.

    ``alike``: points in a row that one simulation serves, which travel together.
    """
    if processes == 1:
        catalog = Catalog()
        for index, values in points:
            yield [(index, measure(base, values, catalog))]
        return
    if isinstance(processes, Cluster):
        smaller = iter(lambda: list(islice(points, _whole(_CLUSTER_CHUNK, alike))), [])
        yield from processes.mapped(partial(_measure_chunk, base), smaller)
        return
    chunks = iter(lambda: list(islice(points, _whole(_CHUNK, alike))), [])
    with ProcessPoolExecutor(processes, get_context("spawn"), _leave_interrupts) as pool:
        waiting = {pool.submit(_measure_chunk, base, chunk) for chunk in islice(chunks, processes * _AHEAD)}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                waiting |= {pool.submit(_measure_chunk, base, chunk) for chunk in islice(chunks, len(done))}
                yield from (future.result() for future in done)
        except BrokenProcessPool:
            raise InputError(
                f"one of {processes} processes of the study was ended from outside, perhaps for its memory; "
                "run the command again for the rest, with fewer --processes"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _whole(chunk: int, alike: int) -> int:
    """About ``chunk`` points, a multiple of ``alike`` where these are not many more."""
    return chunk if alike > _MOST_ALIKE else max(1, chunk // alike) * alike


def _leave_interrupts() -> None:
    """Ctrl-C is for the process that keeps the rows; it ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _measure_chunk(base: StudyJob, chunk: list[tuple[int, Point]]) -> list[tuple[int, Measured]]:
    return [(index, measure(base, values, _catalog)) for index, values in chunk]
