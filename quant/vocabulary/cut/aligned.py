"""Windows of one text in two vocabularies, and the distribution over the fewer entries that the teacher's implies.

Where a token of the full vocabulary ends, the teacher says what comes next: the chance of a piece is the sum of the
chances of all tokens that begin with it. Inside a token that was cut into pieces the next piece is known.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hw.errors import InputError

__all__ = ["AlignedWindows", "aligned_windows", "cut_chances", "first_pieces"]


class AlignedWindows(NamedTuple):
    """All int64 ``(windows, length)``.

    ``pieces``: ids of the cut vocabulary; ``tokens``: of the full one, of the same text, zeros behind it; ``ends``: the
    place among ``tokens`` of the token whose last piece this is, -1 of pieces inside a token.
    """

    pieces: Tensor
    tokens: Tensor
    ends: Tensor


def aligned_windows(tokens: Sequence[int], pieces: Sequence[tuple[int, ...]], length: int) -> AlignedWindows:
    """Windows of ``length`` pieces, each beginning with a token; ``pieces``: of each id of the full vocabulary;
    an id without any, a row of the model that no entry belongs to, is the teacher's alone.

    Raises:
        InputError: too few tokens for one window.
    """
    rows: list[tuple[list[int], list[int], list[int]]] = []
    now: tuple[list[int], list[int], list[int]] = ([], [], [])
    for token in tokens:
        found = pieces[token] if token < len(pieces) else ()
        if len(now[0]) + len(found) > length:  # the window ends with its beginning, the next has it whole
            room = length - len(now[0])
            now[0].extend(found[:room])
            now[2].extend([-1] * room)
            rows.append(now)
            now = ([], [], [])
        now[0].extend(found)
        now[2].extend([*[-1] * (len(found) - 1), len(now[1])][: len(found)])
        now[1].append(token)
        if len(now[0]) == length:
            rows.append(now)
            now = ([], [], [])
    if not rows:
        raise InputError(
            f"text must have {length} tokens for a window of the cut vocabulary; give more, or shorter windows"
        )
    padded = [row[1] + [0] * (length - len(row[1])) for row in rows]
    arrays = (np.array([row[0] for row in rows]), np.array(padded), np.array([row[2] for row in rows]))
    return AlignedWindows(*(torch.from_numpy(array.astype(np.int64)) for array in arrays))


def first_pieces(pieces: Sequence[tuple[int, ...]], rows: int) -> Tensor:
    """Of each of the ``rows`` of the full head, the id of the piece that its token begins with; -1: of none."""
    found = torch.full((rows,), -1, dtype=torch.int64)
    for old, one in enumerate(pieces[:rows]):
        if one:
            found[old] = one[0]
    return found


def cut_chances(chances: Tensor, first: Tensor, entries: int) -> Tensor:
    """Chances ``(n, rows)`` of the full vocabulary's tokens as ``(n, entries)`` of the pieces that they begin with.

    Rows of the head that no entry belongs to (``first`` -1) count to the piece 0; their chances are next to nothing.
    """
    return chances.new_zeros(len(chances), entries).index_add_(1, first.clamp_min(0), chances)
