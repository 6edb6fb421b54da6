"""What is evaluated, opened: a model as it is, or a finished run in its place, with what says which it was."""

from pathlib import Path
from typing import NamedTuple

from quant.evaluation.rows import FLOAT_WEIGHTS
from quant.exports.finished import find_run
from quant.llama.blocks import LoadedModel
from quant.llama.loading import load_model
from quant.manifest import Manifest
from quant.quantizer import apply_checkpoint
from quant.source import located, resolve

__all__ = ["Opened", "is_run", "open_model"]


class Opened(NamedTuple):
    """``loaded``: ready to work; ``manifest``: of the run whose weights it has, None of a model as it is."""

    loaded: LoadedModel
    manifest: Manifest | None

    @property
    def weights(self) -> str:
        """The method of a run, or that nothing was quantized."""
        return FLOAT_WEIGHTS if self.manifest is None else self.manifest.method

    @property
    def weights_sha256(self) -> str:
        """Of the packed trits of a run, else of the model's own files."""
        return self.loaded.weights_sha256 if self.manifest is None else self.manifest.weights_sha256


def is_run(source: str) -> bool:
    """Whether ``source`` is a finished run's folder, or its packed file."""
    path = Path(source)
    return (path.parent if path.is_file() else path).joinpath("ternary.safetensors").is_file()


def open_model(source: str, model: str | None, device: str) -> Opened:
    """Open a finished run or a model on ``device``; ``model``: where a run's model is, if not where the run found it.

    Raises:
        InputError: neither, damaged weights, or another model than the one that was quantized.
    """
    if not is_run(source):
        return Opened(load_model(located(resolve(source)), device, streamed=False), None)
    found = find_run(Path(source), model)
    loaded = load_model(found.source, device, streamed=False)
    apply_checkpoint(loaded, found.checkpoint)
    return Opened(loaded, found.manifest)
