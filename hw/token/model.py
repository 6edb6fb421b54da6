"""A whole token in integers: id -> embedding -> decoder layers -> last norm -> logits -> the next id."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from hw.errors import InputError
from hw.token.attention import AttentionFormat, KvCache
from hw.token.decoder import Layer, decoded
from hw.token.formats import Flags
from hw.token.norm import Norm, normalized
from hw.token.scales import Scale
from hw.token.table import HEAD_LIMIT, Table, greedy, logit_exponents, logits, looked_up

__all__ = ["TokenModel", "TokenState"]


@dataclass
class TokenState:
    """What a machine remembers between tokens: K and V of every layer; the position is their length."""

    caches: list[KvCache]

    @property
    def position(self) -> int:
        """Tokens taken in so far."""
        return self.caches[0].length


@dataclass
class TokenModel:
    """Weights and constants of a whole model. ``head`` is ``embedding`` itself where the two are tied.

    ``rotary``: RoPE rows int64 ``(context, 2, d / 2)``; ``last_norm``: its gains times the head's channel spread.
    """

    embedding: Table
    layers: list[Layer]
    last_norm: Norm
    head: Table
    rotary: np.ndarray
    form: AttentionFormat
    kv_heads: int
    flags: Flags = field(default_factory=Flags)

    def state(self, context: int | None = None) -> TokenState:
        """An empty cache for ``context`` tokens, by default all that the RoPE table has rows for.

        Raises:
            InputError: more than that.
        """
        rows, _, half = self.rotary.shape
        context = rows if context is None else context
        if not 1 <= context <= rows:
            raise InputError(f"context must be 1 to {rows} tokens, not {context}")
        return TokenState([KvCache.empty(self.kv_heads, context, 2 * half) for _ in self.layers])

    def hidden(self, tokens: Sequence[int] | np.ndarray, state: TokenState) -> np.ndarray:
        """Residual words ``(m, n)`` behind the last layer of m further tokens, taken in at once.

        Raises:
            InputError: an id outside the vocabulary, or more tokens than the cache has room for.
        """
        tokens = np.asarray(tokens, np.int64)
        words = len(self.embedding.weights)
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < words:
            raise InputError(f"token ids must be 0 to {words - 1}, not {tokens.min()} to {tokens.max()}")
        begin, room = state.position, state.caches[0].keys.shape[1]
        if begin + len(tokens) > room:
            raise InputError(f"context must be at most {room} tokens, not {begin + len(tokens)}")
        rotary = self.rotary[begin : begin + len(tokens)]
        x = looked_up(tokens, self.embedding, self.flags)
        for layer, cache in zip(self.layers, state.caches, strict=True):
            x = decoded(x, layer, cache, rotary, self.form, self.flags)
        return x

    def logits(self, hidden: np.ndarray) -> tuple[np.ndarray, Scale]:
        """Logits ``(m, vocabulary)``, int64 of at most 56 bits, and the scale that makes them the model's."""
        q, scale = normalized(hidden, self.last_norm, HEAD_LIMIT)
        return logits(q, self.head), scale.times_power(logit_exponents(self.head)[1])

    def generate(self, prompt: Sequence[int], count: int, state: TokenState) -> Iterator[int]:
        """``count`` greedy tokens behind ``prompt``, each as soon as it is known."""
        tokens = list(prompt)
        for _ in range(count):
            token = int(greedy(self.logits(self.hidden(tokens, state)[-1:])[0])[0])
            yield token
            tokens = [token]
