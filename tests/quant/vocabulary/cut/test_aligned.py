"""One text in two vocabularies, by hand; the teacher's chances of pieces, and the loss, by naive loops."""

import math

import pytest
import torch

from hw.errors import InputError
from quant.vocabulary.cut.aligned import AlignedWindows, aligned_windows, cut_chances, first_pieces
from quant.vocabulary.cut.heal import piece_loss

PIECES = [(0,), (1,), (2,), (0, 1), (1, 2, 2), (), (0, 2)]  # of ids 0 to 6; 5 has no entry


def test_windows_by_hand():
    found = aligned_windows([3, 2, 4, 0, 1, 1, 3], PIECES, 4)
    # 3 is 0 1, 2 is 2, and of 4, which is 1 2 2, one piece fits: the next window begins with it again.
    assert found.pieces.tolist() == [[0, 1, 2, 1], [1, 2, 2, 0], [1, 1, 0, 1]]
    assert found.tokens.tolist() == [[3, 2, 0, 0], [4, 0, 0, 0], [1, 1, 3, 0]]
    assert found.ends.tolist() == [[-1, 0, 1, -1], [-1, -1, 0, 1], [0, 1, -1, 2]]


def test_a_window_that_a_token_fills_is_followed_by_the_next_token():
    found = aligned_windows([3, 3, 4], PIECES, 4)
    assert found.pieces.tolist() == [[0, 1, 0, 1]]
    assert found.ends.tolist() == [[-1, 0, -1, 1]]


def test_too_short_a_text_is_refused():
    with pytest.raises(InputError, match=r"^text must have 9 tokens for a window of the cut vocabulary"):
        aligned_windows([0, 1], PIECES, 9)


def test_chances_are_those_of_all_tokens_with_the_same_first_piece():
    chances = torch.tensor([[0.1, 0.2, 0.05, 0.25, 0.15, 0.0, 0.25]])
    first = first_pieces(PIECES, 7)
    assert first.tolist() == [0, 1, 2, 0, 1, -1, 0]
    torch.testing.assert_close(cut_chances(chances, first, 3), torch.tensor([[0.6, 0.35, 0.05]]))


def test_the_loss_is_that_of_a_naive_loop():
    torch.manual_seed(0)
    windows = aligned_windows([3, 2, 4, 0, 1, 1, 3], PIECES, 4)
    taught, learned = torch.randn(2, 3, 4, 5)
    gains, full, cut = torch.rand(2, 5) + 0.5, torch.randn(7, 5), torch.randn(3, 5)

    def chances(x, gain, head):
        normed = gain * x / (x.square().mean() + 1e-5).sqrt()
        return (head @ normed).softmax(0).tolist()

    total = 0.0
    for window in range(3):
        for place in range(3):
            end = int(windows.ends[window, place])
            target = [0.0, 0.0, 0.0]
            if end < 0:
                target[int(windows.pieces[window, place + 1])] = 1.0
            else:
                for token, chance in enumerate(chances(taught[window, end], gains[0], full)):
                    target[PIECES[token][0] if PIECES[token] else 0] += chance
            given = chances(learned[window, place], gains[1], cut)
            total += sum(p * math.log(p / q) for p, q in zip(target, given, strict=True) if p)
    ends = ((gains[0], full), (gains[1], cut))
    loss = piece_loss(taught, learned, windows, first_pieces(PIECES, 7), ends, 1e-5)
    assert loss.item() == pytest.approx(total / 9, rel=1e-5)


def test_the_full_vocabulary_loses_nothing():
    states, gain, head = torch.randn(1, 4, 5), torch.rand(5), torch.randn(7, 5)
    windows = AlignedWindows(
        torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, 4, dtype=torch.int64), torch.arange(4)[None]
    )
    loss = piece_loss(states, states, windows, torch.arange(7), ((gain, head), (gain, head)), 1e-5)
    assert loss.item() == pytest.approx(0, abs=1e-6)
