"""A search in place of the whole grid: Optuna proposes points by what earlier ones gave, NSGA-II, NSGA-III or TPE.

Points are proposed and told in generations of a fixed size, so that a seed gives the same points with any number of
processes. Each is a row like any other, and counts once; a point that is out is told as failed, and breeds nothing.
Trials are in Optuna's journal format where ``storage`` names a file: the same study goes on from there.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from energy.study.axes import Value
from hw.artifact import sha256_json
from hw.document import Record
from hw.errors import InputError

if TYPE_CHECKING:
    import optuna

    from energy.study.document import Study

__all__ = ["Search", "Searcher"]

Point = dict[str, Value]

_GENERATION = 32  # points that are proposed together
_OWNER = "tritforge_study"  # attribute of a storage: the hash of its study


class Search(Record):
    """How to search."""

    sampler: Literal["nsga2", "nsga3", "tpe"] = Field("nsga2", description="who proposes points")
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = Field(description="points to propose, repeated ones included")
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = Field(0, description="of the sampler: equal seeds, equal points")
    storage: str | None = Field(None, description="file that keeps the trials, from which the same study goes on")


class Searcher:
    """The search of one study: generations of points, and what came of them.

    Raises:
        InputError: Optuna is missing, or a storage that is damaged or of another study.
    """

    def __init__(self, study: "Study", search: Search) -> None:
        self._steps, self._search = study.steps(), search
        signs = ["minimize"] * len(study.minimize) + ["maximize"] * len(study.maximize)
        self._trials = _opened(search, signs, _identity(study))
        self._asked: list[tuple[optuna.trial.Trial, Point]] = []

    @property
    def told(self) -> int:
        """Trials that are finished, those of the storage included."""
        return sum(trial.state.is_finished() for trial in self._trials.get_trials(deepcopy=False))

    def known(self) -> Iterator[Point]:
        """Points of the storage, in the order in which they were proposed, repeated ones included."""
        for trial in self._trials.get_trials(deepcopy=False):
            if trial.state.is_finished():
                yield self._point(trial.params)

    def generation(self) -> list[Point]:
        """The next points; none when all trials are spent."""
        count = min(_GENERATION, self._search.trials - self.told)
        self._asked = []
        for _ in range(count):
            trial = self._trials.ask()
            chosen = {name: trial.suggest_int(name, 0, len(step) - 1) for name, step in self._steps.items()}
            self._asked.append((trial, self._point(chosen)))
        return [point for _, point in self._asked]

    def tell(self, objectives: Callable[[Point], list[float] | None]) -> None:
        """Say what the points of the generation gave; None: the point is out."""
        from optuna.trial import TrialState

        for trial, point in self._asked:
            values = objectives(point)
            if values is None:
                self._trials.tell(trial, state=TrialState.FAIL)
            else:
                self._trials.tell(trial, values)

    def _point(self, chosen: Mapping[str, int]) -> Point:
        return {name: value for step, index in chosen.items() for name, value in self._steps[step][index].items()}


def _identity(study: "Study") -> str:
    """What trials belong to: all that a study says but how many more of them there shall be."""
    fields = study.model_dump(mode="json")
    fields["search"] = {"sampler": fields["search"]["sampler"], "seed": fields["search"]["seed"]}
    return sha256_json(fields)


def _opened(search: Search, signs: list[str], identity: str) -> "optuna.Study":
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise InputError("optuna is missing; install the search extra: pip install 'tritforge[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # NSGA-III, for five years
    storage = None
    try:
        if search.storage is not None:
            Path(search.storage).parent.mkdir(parents=True, exist_ok=True)
            storage = optuna.storages.JournalStorage(JournalFileBackend(search.storage))
        trials = optuna.create_study(storage=storage, study_name="study", directions=signs, load_if_exists=True)
        owner = trials.user_attrs.get(_OWNER)
        if owner is None and not trials.get_trials(deepcopy=False):
            trials.set_user_attr(_OWNER, owner := identity)
    except Exception as error:  # of whatever kind a damaged file makes Optuna raise
        raise InputError(
            f"search storage {search.storage!r} must be a file of Optuna's journal that can be written, not one that "
            f"gives {type(error).__name__}; name another file"
        ) from None
    if owner != identity:
        raise InputError(
            f"search storage {search.storage!r} must hold trials of this study, not of another or of one with other "
            "fields; name another file, or remove it"
        )
    trials.sampler = _sampler(search, len(trials.get_trials(deepcopy=False)))
    return trials


def _sampler(search: Search, told: int) -> "optuna.samplers.BaseSampler":
    """The sampler, seeded anew for what follows on ``told`` trials of an earlier run."""
    from optuna import samplers

    seed = (search.seed + told) % (1 << 32)
    match search.sampler:
        case "nsga2":
            return samplers.NSGAIISampler(population_size=_GENERATION, seed=seed)
        case "nsga3":
            return samplers.NSGAIIISampler(population_size=_GENERATION, seed=seed)
    return samplers.TPESampler(seed=seed, n_startup_trials=_GENERATION)
