"""Balancing factors, shared by query heads, by loops over channels; kurtosis by its definition; Q as a matrix."""

import numpy as np
import pytest
import torch

from quant.llama.blocks import block_inputs, block_linears, block_norms, blocks, decoder_linears
from quant.llama.hadamard import RandomHadamard, factor_order, paley
from quant.rewrite.equivalent import Exponents, balance, weight_kurtosis
from tests.quant.rewrite.test_equivalent import make, silent, tokens


def factors(squares, magnitudes, exponents):
    """``mean|x|^a / rms(w)^b`` by channel, times what makes the largest the inverse of the smallest."""
    mean_m, mean_s = sum(magnitudes) / len(magnitudes), sum(squares) / len(squares)
    raised = []
    for square, magnitude in zip(squares, magnitudes, strict=True):
        magnitude = max(magnitude, 1e-4 * mean_m) if mean_m else 1.0
        square = max(square, 1e-4 * mean_s) if mean_s else 1.0
        raised.append(magnitude**exponents.activations / square ** (exponents.weights / 2))
    middle = (max(raised) * min(raised)) ** 0.5
    return np.array([one / middle for one in raised])


@pytest.mark.parametrize("form", ["grouped", "qwen", "one key-value head"])
@pytest.mark.parametrize("exponents", [Exponents(0.5), Exponents(0.7, 0.3)])
def test_factors_of_the_first_block_by_loops(form, exponents):
    model, shape = make(form)
    block, window = blocks(model)[0], tokens(5)
    linears = block_linears(block, 0)
    linears[5].module.weight.data[7] = 0  # one input of down is always zero
    if linears[5].module.bias is not None:
        linears[5].module.bias.data[7] = 0
    with block_inputs(linears) as seen:
        model(window)
    means = {kind: np.mean([token.abs().numpy() for token in x.flatten(0, 1)], axis=0) for kind, x in seen.items()}
    before = {linear.kind: linear.module.weight.double().numpy().copy() for linear in linears}
    gains = [gain.double().numpy().copy() for gain in block_norms(block, 0).values()]
    balance(model, shape, window, exponents, silent)
    after = {linear.kind: linear.module.weight.double().detach().numpy() for linear in linears}

    def squares(*kinds):
        rows = np.concatenate([before[kind] for kind in kinds])
        return [sum(row[c] ** 2 for row in rows) / len(rows) for c in range(rows.shape[1])]

    # o: head h of the queries reads key-value head h // share, whose channel counts by its mean over them.
    share, size = shape.heads // shape.kv_heads, shape.head_dim
    places = [[(kv * share + i) * size + c for i in range(share)] for kv in range(shape.kv_heads) for c in range(size)]
    square, magnitude = squares("o_proj"), means["o_proj"]
    shared = factors(
        [np.mean([square[p] for p in together]) for together in places],
        [np.mean([magnitude[p] for p in together]) for together in places],
        exponents,
    )
    of_o = np.zeros(shape.heads * size)
    for factor, together in zip(shared, places, strict=True):
        of_o[together] = factor
    of_down = factors(squares("down_proj"), means["down_proj"], exponents)
    inputs, outputs = {"o_proj": of_o, "down_proj": of_down}, {"v_proj": shared, "up_proj": of_down}
    for kind, divisor in outputs.items():  # first, so that the readers of the norms see what is left
        before[kind] /= divisor[:, None]
    norms = block_norms(block, 0).values()
    for kinds, gain, now in zip((("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")), gains, norms, strict=True):
        found = factors(squares(*kinds), means[kinds[0]], exponents)
        inputs |= dict.fromkeys(kinds, found)
        np.testing.assert_allclose(now.double().detach().numpy(), gain / found, rtol=1e-3)
    for kind, weight in before.items():
        np.testing.assert_allclose(after[kind], weight * inputs[kind], rtol=2e-3, atol=1e-5)


def test_kurtosis_is_the_fourth_moment_over_the_squared_second_mean_over_linears():
    model, _ = make("plain")
    found = []
    for linear in decoder_linears(model):
        weights = linear.module.weight.flatten().double().tolist()
        second, fourth = (sum(w**power for w in weights) / len(weights) for power in (2, 4))
        found.append(fourth / second**2)
    assert weight_kurtosis(model) == pytest.approx(sum(found) / len(found), rel=1e-4)


def is_square(x, q):
    return any((y * y - x) % q == 0 for y in range(1, q))


def by_definition(order):
    """Paley's matrices with the quadratic characters counted out; ``order`` is q + 1 or 2 (q + 1)."""
    q = order - 1 if (order - 1) % 4 == 3 and all((order - 1) % d for d in range(2, order - 1)) else order // 2 - 1

    def s(i, j):
        if 0 in (i, j):
            return int(i != j)
        difference = (i - j) % q
        return 0 if difference == 0 else 1 if is_square(difference, q) else -1

    if q == order - 1:
        return [[(i == j) + (-1 if j == 0 and i else s(i, j)) for j in range(order)] for i in range(order)]
    pair, diagonal = ((1, 1), (1, -1)), ((1, -1), (-1, -1))
    return [
        [s(i // 2, j // 2) * pair[i % 2][j % 2] + (i // 2 == j // 2) * diagonal[i % 2][j % 2] for j in range(order)]
        for i in range(order)
    ]


@pytest.mark.parametrize("order", [4, 8, 12, 20, 24, 28, 36, 60])
def test_paley_matrices_by_definition(order):
    assert paley(order).tolist() == by_definition(order)


@pytest.mark.parametrize("order", [2, 6, 16, 40, 92])
def test_orders_without_a_paley_matrix_are_refused(order):
    with pytest.raises(ValueError, match="order must be q"):
        paley(order)


@pytest.mark.parametrize("size", [24, 36, 40, 72])
def test_q_is_signs_times_paley_times_sylvester(size):
    order = factor_order(size, "size")
    rest = size // order
    sylvester = np.array([[(-1) ** bin(i & j).count("1") for j in range(rest)] for i in range(rest)])
    matrix = np.kron(by_definition(order), sylvester) / size**0.5
    drawn = torch.randint(2, (size,), generator=torch.Generator().manual_seed(5)).numpy()
    x = np.random.default_rng(0).normal(size=(3, 2, size))
    turned = RandomHadamard(size, 5, "size")(torch.from_numpy(x))
    np.testing.assert_allclose(turned.numpy(), (x * (2 * drawn - 1)) @ matrix, atol=1e-12)
