"""A quantized model as a program of a whole-token machine, beside the integer model that it must equal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hw.document import validate_document
from hw.errors import InputError
from hw.program.compiler import compiled
from hw.program.image import Image
from hw.program.layout import EMBEDDINGS
from hw.program.machine import MachineConfig
from hw.progress import StageReport
from quant.token.job import TokenJob
from quant.token.run import TokenRun, prepare

__all__ = ["ModelProgram"]

_LONGEST_WINDOW = 512  # tokens of a window that shifts are calibrated on


@dataclass
class ModelProgram:
    """An image, and what it was made of."""

    image: Image
    run: TokenRun

    @classmethod
    def of(
        cls, fields: Mapping[str, Any], context: int, machine: MachineConfig, report: StageReport,
        embedding: str = EMBEDDINGS[0],
    ) -> "ModelProgram":  # fmt: skip
        """Compile the model of a ``TokenJob``'s fields for ``context`` tokens; ``embedding``: see ``compiled``.

        Raises:
            InputError: see ``quant.token.run.prepare`` and ``hw.program.compiler.compiled``.
        """
        if context < 2:
            raise InputError(f"context must be at least 2 tokens, not {context}")
        sizes = {"length": min(_LONGEST_WINDOW, context), "prompt_ids": (1,), "tokens": context - 1}
        run = prepare(validate_document({**fields, **sizes}, TokenJob, "options"), report)
        return cls(compiled(run.model, machine, embedding), run)

    @property
    def name(self) -> str:
        """The model's."""
        return self.run.loaded.shape.name

    @property
    def method(self) -> str:
        """Whose trits they are."""
        return self.run.job.method

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""
        return self.run.loaded.tokenizer.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        return self.run.loaded.tokenizer.decode(list(tokens))

    def stream(self, prompt: Sequence[int], count: int) -> Iterator[int]:
        """Greedy tokens of the integer model, which reads no program."""
        return self.run.model.generate(prompt, count, self.run.model.state())

    def write(self, prompt: Sequence[int], count: int) -> list[int]:
        """The same, all of them."""
        return list(self.stream(prompt, count))
