"""Bytes for a core's streams against walks over tokens, columns and folds."""

import numpy as np
import pytest

from hw.config import ArrayConfig
from hw.errors import InputError
from hw.host.streams import check_operands, operand_tiles, result_places
from hw.trit import tile_stream

CONFIG = ArrayConfig(name="a", rows=3, cols=2, token_tile=2, weight_bus_bits=8, accumulator_bits=16)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (5, 3, 7), (4, 4, 6), (2, 2, 3)])
def test_tiles_hold_their_part_and_zeros_where_they_pad(m, n, k):
    rng = np.random.default_rng(1)
    q, trits = rng.integers(-127, 128, (m, k)).astype(np.int8), rng.integers(-1, 2, (n, k)).astype(np.int8)
    expected = []
    for token in range(0, m, 2):
        for column in range(0, n, 2):
            for fold in range(0, k, 3):
                tile, vectors = np.zeros((2, 3), np.int8), []
                for c in range(column, min(column + 2, n)):
                    for r in range(fold, min(fold + 3, k)):
                        tile[c - column, r - fold] = trits[c, r]
                for t in range(token, min(token + 2, m)):
                    values = [int(q[t, r]) if r < k else 0 for r in range(fold, fold + 3)]
                    vectors.append(bytes(value & 255 for value in values))
                words = [word.to_bytes(1, "little") for word in tile_stream(tile, CONFIG.packing, 8)]
                expected.append((words, vectors))
    assert list(operand_tiles(CONFIG, q, trits)) == expected


@pytest.mark.parametrize(("m", "n"), [(1, 1), (5, 3), (4, 4)])
def test_results_come_by_token_tile_column_tile_and_token(m, n):
    expected = [
        (t, column) for token in range(0, m, 2) for column in range(0, n, 2) for t in range(token, min(token + 2, m))
    ]
    assert list(result_places(CONFIG, m, n)) == expected


@pytest.mark.parametrize(("q", "trits"), [((2, 3), (4, 5)), ((0, 3), (4, 3)), ((2, 3), (0, 3)), ((2, 0), (4, 0))])
def test_operands_that_do_not_agree_or_are_empty_are_refused(q, trits):
    with pytest.raises(InputError, match=r"must agree and not be empty"):
        check_operands(CONFIG, np.zeros(q, np.int8), np.zeros(trits, np.int8))


def test_sizes_are_tokens_outputs_and_inputs():
    assert check_operands(CONFIG, np.zeros((2, 3), np.int8), np.zeros((4, 3), np.int8)) == (2, 4, 3)
    assert check_operands(CONFIG, np.zeros((1, 1), np.int8), np.zeros((1, 1), np.int8)) == (1, 1, 1)
