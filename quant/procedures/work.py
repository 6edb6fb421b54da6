"""``Work``: what every procedure is given; ``Written``: what it leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from hw.progress import StageReport
from quant.llama.blocks import LoadedModel
from quant.methods.method import Method, MethodOptions
from quant.procedures.shared.shards import WHOLE, Shards
from quant.weights.stored_table import StoredTable

__all__ = ["Work", "Written"]


class Work(NamedTuple):
    """A model, the method that is carried over it, the text that it is calibrated on, and where to keep what is done.

    ``windows``: calibration tokens, int64 ``(count, length)``, none for the procedure "stored"; ``parts``: folder of
    finished blocks, a checkpoint each, from which a later call goes on to the same bits; ``texts``: folder of text that
    the model wrote, which other jobs of the same model share; ``shards``: what several devices share, and who writes.
    """

    loaded: LoadedModel
    method: Method
    options: MethodOptions
    windows: Tensor
    parts: Path
    texts: Path
    seed: int
    progress: StageReport
    shards: Shards = WHOLE


class Written(NamedTuple):
    """Checkpoints of the blocks, in order, and what was retrained beside them and is in none.

    ``norms``: gains, float32 by name; ``tables``: embedding and head by name, float16 ``(vocabulary, hidden)`` or in
    digits.
    """

    parts: list[Path]
    norms: dict[str, np.ndarray]
    tables: Mapping[str, np.ndarray | StoredTable] = {}
