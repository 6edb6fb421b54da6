"""GLU: ``h = gate * sigmoid(gate) * up`` with a table of 1024 sigmoids.

``a = sat24(rhe(g * SIG[(g >> f - 6) + 512], 16))``, ``h = sat32(rhe(a * u, up_fraction))``, where ``rhe(v, s)`` is
``v / 2**s`` rounded half to even; g (24-bit words) and h have f fraction bits, u (17-bit words) ``up_fraction``.
``SIG[i]``: floor of ``2**16`` times the sigmoid at the middle of the i-th 1/64 of -8..8; 65535 from g = 8 on, 0 below
-8.

Error of ``gate * sigmoid(gate)``: at most 0.0028 (the cut at -8; 0.0018 from there on) and a unit of ``2**-f``.
Ref: Shazeer, GLU Variants Improve Transformer, arXiv 2002.05202 (SwiGLU).
"""

import numpy as np

from hw.token.formats import OPERAND_BITS, WORD_BITS, Flags, rescaled

__all__ = ["SIGMOIDS", "gated"]

_STEPS = 64  # per unit of the gate
_RANGE = 8

_MIDDLES = (np.arange(-_RANGE * _STEPS, _RANGE * _STEPS) + 0.5) / _STEPS
SIGMOIDS = np.floor(65536 / (1 + np.exp(-_MIDDLES))).astype(np.int64)


def gated(gate: np.ndarray, up: np.ndarray, fraction: int, up_fraction: int, flags: Flags | None = None) -> np.ndarray:
    """Words ``(m, n)`` of gate (``fraction`` >= 6 fraction bits) and of up -> words of ``fraction`` fraction bits."""
    index = (gate >> fraction - 6) + _RANGE * _STEPS
    sigmoid = SIGMOIDS[np.clip(index, 0, len(SIGMOIDS) - 1)]
    sigmoid = np.where(index < 0, 0, np.where(index >= len(SIGMOIDS), 65535, sigmoid))
    activated = rescaled(gate * sigmoid, 16, OPERAND_BITS, flags)
    return rescaled(activated * up, up_fraction, WORD_BITS, flags)
