"""Small random models of the whole token, built from hw alone: random digits, scales, gains and tables."""

from itertools import pairwise

import numpy as np

from hw.token.attention import AttentionFormat, attention_constants
from hw.token.calibrate import calibrated
from hw.token.decoder import FRACTION, Layer
from hw.token.digits import digit_limit
from hw.token.linear import linear_part
from hw.token.model import TokenModel
from hw.token.norm import norm_constants
from hw.token.rope import rotary_table
from hw.token.table import looked_up, table_constants

__all__ = ["random_model"]


def random_model(
    seed: int,
    layers: int = 2,
    hidden: int = 12,
    intermediate: int = 20,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int = 8,
    vocabulary: int = 11,
    context: int = 24,
    form: AttentionFormat = AttentionFormat(),  # noqa: B008 (a NamedTuple does not change)
    digits: int = 2,
    parts: int = 1,
) -> TokenModel:
    """Calibrated on its own random tokens, so that no value of ordinary size saturates."""
    rng = np.random.default_rng(seed)

    def part(n, k, start):
        limit = digit_limit(digits)
        weights = rng.integers(-limit, limit + 1, (n, k)).astype(np.int8)
        scales = rng.uniform(0.5, 2, n) / (limit * k**0.5)
        return linear_part(weights, scales, digits, start, FRACTION, "linear")

    def linear(n, k):
        cuts = np.linspace(0, k, parts + 1).astype(int)
        return tuple(part(n, int(b - a), int(a)) for a, b in pairwise(cuts))

    def norm():
        return norm_constants(rng.uniform(0.2, 2, hidden), 1e-5, FRACTION)

    limit = digit_limit(3)
    table = table_constants(
        rng.integers(-limit, limit + 1, (vocabulary, hidden)),
        3,
        rng.uniform(0.5, 2, vocabulary) / limit,
        rng.uniform(0.3, 1, hidden),
        rng.normal(0, 0.1, hidden),
        FRACTION,
    )
    rotary = rotary_table(context, head_dim, 100.0)
    x, made = looked_up(rng.integers(0, vocabulary, context), table)[None], []
    for _ in range(layers):
        layer = Layer(
            input_norm=norm(),
            q=linear(heads * head_dim, hidden),
            k=linear(kv_heads * head_dim, hidden),
            v=linear(kv_heads * head_dim, hidden),
            o=linear(hidden, heads * head_dim),
            post_norm=norm(),
            gate=linear(intermediate, hidden),
            up=linear(intermediate, hidden),
            down=linear(hidden, intermediate),
            attention=attention_constants(form, head_dim, context, FRACTION, 0, 0),
            up_fraction=FRACTION,
        )
        layer, x = calibrated(layer, x, rotary, form, context)
        made.append(layer)
    return TokenModel(
        embedding=table,
        layers=made,
        last_norm=norm_constants(rng.uniform(0.2, 2, hidden) * table.channels(), 1e-5, FRACTION),
        head=table,
        rotary=rotary,
        form=form,
        kv_heads=kv_heads,
    )
