"""lm-eval and datasets without their notes and bars: progress is shown by who calls them."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import datasets
import lm_eval.api.task

__all__ = ["quiet_harness"]


@contextmanager
def quiet_harness() -> Iterator[None]:
    """Inside, neither warns nor draws bars; errors still raise."""
    bars, drawn = lm_eval.api.task.tqdm, datasets.are_progress_bars_disabled()
    lm_eval.api.task.tqdm = _unseen
    datasets.disable_progress_bars()
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        lm_eval.api.task.tqdm = bars
        if not drawn:
            datasets.enable_progress_bars()


def _unseen(items: Iterable, **_: object) -> Iterable:
    return items
