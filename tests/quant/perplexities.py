"""``python -m tests.quant.perplexities``: our perplexity beside transformers' of a tiny model of every family.

Random weights, a byte tokenizer, the licence as the text. Ours is what ``tritforge quant`` prints as "before": the
stepped forward pass of ``quant.llama``; theirs is transformers' whole model with its eager attention and own masks.
The figures go to ``perplexities.json`` beside this file and into the table of docs/inputs.md.
"""

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM

from hw.artifact import write_text
from hw.pages import fill_blocks, markdown_table
from quant.llama.evaluate import perplexity
from quant.llama.loading import load_model
from quant.procedures.calibrate import token_windows
from quant.source import resolve
from tests.quant.families import FAMILIES, save_family

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "inputs.md"
RESULTS = Path(__file__).with_name("perplexities.json")
WINDOWS, LENGTH = 4, 128  # longer than every sliding window of the tiny models


class Pair(NamedTuple):
    """Of one family: parameters, and the two perplexities."""

    parameters: int
    ours: float
    theirs: float

    @property
    def difference(self) -> float:
        """Relative."""
        return abs(self.ours / self.theirs - 1)


def measure(family: str, folder: Path) -> Pair:
    """Write a tiny model of ``family`` into ``folder`` and evaluate it both ways."""
    save_family(family, folder)
    loaded = load_model(resolve(str(folder)))
    tokens = loaded.tokenizer.encode((ROOT / "LICENSE").read_text(encoding="utf-8"))
    windows = token_windows(tokens, LENGTH, WINDOWS, "LICENSE")
    ours = perplexity(loaded.model, windows, int8=False)
    return Pair(loaded.shape.total_parameters, ours, _transformers(folder, windows))


@torch.no_grad()
def _transformers(folder: Path, windows: torch.Tensor) -> float:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    logits = model(windows).logits[:, :-1].flatten(0, 1)
    return math.exp(torch.nn.functional.cross_entropy(logits, windows[:, 1:].flatten()).item())


def table() -> str:
    """The recorded figures as Markdown."""
    recorded = {name: Pair(**one) for name, one in json.loads(RESULTS.read_text(encoding="utf-8")).items()}
    rows = [
        [name, f"{one.parameters:,}", f"{one.ours:.4f}", f"{one.theirs:.4f}", f"{one.difference:.0e}"]
        for name, one in recorded.items()
    ]
    return markdown_table(["family", "parameters", "ours", "transformers'", "relative difference"], rows)


def render_page() -> str:
    """The page with its table anew."""
    return fill_blocks(PAGE.read_text(encoding="utf-8"), {"perplexities": table}, PAGE.name)


def main() -> None:
    """Measure every family, and write figures and page."""
    with TemporaryDirectory() as folder:
        found = {name: measure(name, Path(folder) / name.replace(" ", "-"))._asdict() for name in FAMILIES}
    write_text(RESULTS, json.dumps(found, indent=1) + "\n")
    write_text(PAGE, render_page())


if __name__ == "__main__":
    main()
