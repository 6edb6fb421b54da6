"""Past-only attention as stepping finds it, factors that change nothing in float, losses blocks later, resumes."""

import numpy as np
import pytest
import torch

from hw.errors import InputError
from quant.kv.attention import attend
from quant.kv.formats import parse_kv
from quant.kv.quantizers import grouped
from quant.llama.blocks import block_linears, blocks, embed
from quant.llama.loading import load_model
from quant.methods.trained import wkvquant
from quant.procedures.calibrate import token_windows
from quant.procedures.carry import carry
from quant.procedures.latent import block_function, block_tensors, rotary_tables
from quant.procedures.wkvquant import fit
from quant.procedures.wkvquant.past_only import PastOnly
from quant.procedures.wkvquant.smoothing import SmoothedBlock, first_factors
from quant.registry import options_for
from quant.shapes import LINEAR_KINDS
from quant.source import resolve
from quant.weights.checkpoint import Checkpoint
from quant.weights.storage import load_linear, store_linear
from tests.quant.methods.problems import problem
from tests.quant.tiny import TEXT, save_tiny_llama, work_on

QUICK = {"epochs": 6, "block_rate": 0.05, "factor_rate": 0.02, "block_tokens_per_step": 64, "digits": 2, "group": 8}


def operands(heads=2, tokens=9, d=8):
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(3, heads, tokens, d, generator=generator) for _ in range(3))


def stepped(queries, keys, values, bits, group):
    """Token by token: a cache of rounded tokens, the newest beside it as it is, which is rounded only then."""
    batch, heads, tokens, d = queries.shape
    outputs = torch.zeros_like(queries)
    for b in range(batch):
        for h in range(heads):
            cache = []
            for t in range(tokens):
                k, v = keys[b, h, t], values[b, h, t]
                found = [*cache, (k, v)]
                scores = np.array([(queries[b, h, t] @ one).item() / d**0.5 for one, _ in found])
                chances = np.exp(scores - scores.max())
                chances /= chances.sum()
                outputs[b, h, t] = sum(p * one for p, (_, one) in zip(chances.tolist(), found, strict=True))
                cache.append((grouped(k, bits, group), grouped(v, bits, group)))
    return outputs


@pytest.mark.parametrize(("bits", "group"), [(4, 8), (2, 4)])
def test_one_pass_finds_what_stepping_leaves(bits, group):
    queries, keys, values = operands()
    found = PastOnly(bits, group)(queries, keys, values)
    torch.testing.assert_close(found, stepped(queries, keys, values, bits, group), rtol=1e-5, atol=1e-6)
    visible = torch.ones(9, 9, dtype=torch.bool).tril()[None, None]
    form = parse_kv(f"wkvquant:{bits},group={group}")
    torch.testing.assert_close(found, attend(queries, keys, values, visible, 8**-0.5, form), rtol=1e-5, atol=1e-6)


def test_sixteen_bits_are_exact_attention():
    queries, keys, values = operands()
    exact = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    torch.testing.assert_close(
        PastOnly(16, 8)(queries, keys, values), exact, rtol=0, atol=5e-3
    )  # minima are half precision


def test_gradients_reach_the_newest_token_and_the_past():
    queries, keys, values = operands()
    values.requires_grad_(True)
    PastOnly(3, 8)(queries, keys, values)[:, :, -1].sum().backward()
    sums = values.grad.sum(-2)  # the chances of the last query sum to 1, whatever was rounded
    torch.testing.assert_close(sums, torch.ones_like(sums))


@pytest.fixture
def even(tmp_path):
    """Three blocks with heads of 4."""
    return load_model(resolve(str(save_tiny_llama(tmp_path / "even", layers=3, heads=6))))


def words(even, count=6):
    return token_windows(even.tokenizer.encode(TEXT), 32, count, "words")


class Exact:
    """A weight that is not rounded, with the two places where factors meet it."""

    def __init__(self, weight):
        self.weight = weight

    def rounded(self, rows=None, columns=None):
        weight = self.weight if columns is None else self.weight * columns
        return weight if rows is None else weight * rows


def test_factors_change_no_output_of_a_float_block(even):
    plain = block_tensors(blocks(even.model)[0])
    keys, values = torch.randn(3, 2), torch.randn(3, 4)
    smoothed = SmoothedBlock(tuple(map(Exact, plain.weights)), keys, values, 2)
    function, tables, hidden = floats(even)
    with torch.no_grad():
        torch.testing.assert_close(
            function(hidden, *tables, plain._replace(weights=smoothed.dense())), function(hidden, *tables, plain),
            rtol=1e-4, atol=1e-4,
        )  # fmt: skip
        seen = smoothed.dense()[LINEAR_KINDS.index("k_proj")]
    assert not torch.allclose(seen, plain.weights[1])


def test_first_factors_flatten_the_largest_channels(even):
    keys = torch.tensor([[3.0, 0, 1, 1, 4.0, 0, 1, 1, 1.0, 1, 1, 1], [0.0, 1, 0, 0, 1.0, 1, 0, 0, 0.0, 0, 0, 0]])
    by_pair, by_channel = first_factors(keys, keys, even.shape, 1.0)
    lengths = torch.tensor([[10**0.5, 1], [17**0.5, 1], [2**0.5, 2**0.5]])  # (0, 2) and (1, 3) of three heads
    expected = lengths.log() - lengths.log().mean(-1, keepdim=True)
    torch.testing.assert_close(by_pair, expected)
    assert by_channel.shape == (3, 4)
    assert (first_factors(keys, keys, even.shape, 0.0)[0] == 0).all()


def floats(even):
    """The exact block function, rotary tables, and the first block's inputs."""
    return block_function(even.model, False, False), rotary_tables(even.model, 32), embed(even.model, words(even))


def fitted(even, folder, progress=lambda *_: None, **given):
    return carry(work_on(even, "wkvquant", words(even), folder, progress, **QUICK | given)).parts


def test_what_learns_is_stored_and_killed_runs_go_on_to_equal_bytes(even, tmp_path):
    whole = fitted(even, tmp_path / "whole")

    def kill(stage, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(even, tmp_path / "killed", kill)
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["0.safetensors", "1.safetensors"]
    resumed = fitted(even, tmp_path / "killed")
    assert [path.read_bytes() for path in resumed] == [path.read_bytes() for path in whole]
    solution = Checkpoint(whole[0]).solution(0, "o_proj")
    assert (solution.planes, solution.ratios, solution.group) == (2, (3, 1), 8)


def test_learning_brings_the_outputs_two_blocks_later_nearer(even, tmp_path):
    """Judged by the block function over K and V of 3 bits, the float blocks behind the first."""
    exact, tables, hidden = floats(even)
    cached = block_function(even.model, False, False, attention=PastOnly(3, 4))
    plain = [block_tensors(block) for block in blocks(even.model)]

    def through(function, first):
        with torch.no_grad():
            states = function(hidden, *tables, first)
            for tensors in plain[1:]:
                states = exact(states, *tables, tensors)
        return states

    def error(name, **given):
        part = Checkpoint(fitted(even, tmp_path / name, kv_bits=3, cross_blocks=2, **given)[0])
        weights = tuple(part.solution(0, kind).dense() for kind in LINEAR_KINDS)
        return (through(cached, plain[0]._replace(weights=weights)) - through(exact, plain[0])).abs().mean().item()

    assert error("learned", epochs=20) < 0.95 * error("start", epochs=0)


@pytest.mark.parametrize(("cross", "behind"), [(0, [0, 0, 0]), (1, [1, 1, 0]), (5, [2, 1, 0])])
def test_as_many_float_blocks_behind_as_asked_for_and_there_are(cross, behind, even, tmp_path, monkeypatch):
    """With none the loss is the block's own mean absolute error; the last blocks have fewer."""
    seen = []

    def no_training(through, block, inputs, wanted, work, layer):
        _, teach, tables, plain, later = through.args
        seen.append(len(later))
        found = inputs
        if layer == 0:  # both streams are still the embedding
            with torch.no_grad():
                for tensors in (plain, *later):
                    found = teach(found, *tables, tensors)
                torch.testing.assert_close(found, wanted)

    monkeypatch.setattr(fit, "_fit", no_training)
    fitted(even, tmp_path, cross_blocks=cross)
    assert seen == behind


@pytest.mark.parametrize("digits", [1, 3])
def test_clipping_by_hand_and_what_is_stored(digits):
    weight = problem()[0]
    one = wkvquant.learned_weight(weight, None, options_for("wkvquant", {"digits": digits, "group": 32}))
    rows, columns = torch.linspace(0.5, 2, 12)[:, None], torch.linspace(0.2, 3, 72)
    limit = (3**digits - 1) // 2
    for start, stop in ((0, 32), (32, 64), (64, 72)):
        part = (weight * columns)[:, start:stop]
        step = torch.sigmoid(one.logits[:, [start // 32]]) * part.abs().amax(1, keepdim=True) / limit
        wanted = (step * rows).half().float() * (part / step).round().clamp(-limit, limit)
        torch.testing.assert_close(one.rounded(rows, columns)[:, start:stop], wanted)
    stored = one.stored(rows, columns)
    assert torch.equal(load_linear(*store_linear(stored)).dense(), stored.dense())
    torch.testing.assert_close(stored.dense(), one.rounded(rows, columns))
    assert torch.equal(one.dense(), one.solution().dense())


def test_bad_input_is_refused_in_one_line(even, tmp_path):
    with pytest.raises(InputError, match="option 'kv_group' must divide the head size 4, not 3"):
        fitted(even, tmp_path, kv_group=3)
    with pytest.raises(InputError, match=r"'cross_blocks' is an option of wkvquant"):
        options_for("omniquant", {"cross_blocks": 1})
    with pytest.raises(InputError, match=r"layers\.0: the error must be finite, not nan; lower .* 'block_rate'"):
        fitted(even, tmp_path, block_rate=1e30, factor_rate=1e30)
    linear = next(one.module for one in block_linears(blocks(even.model)[0], 0) if one.kind == "k_proj")
    linear.bias = torch.nn.Parameter(torch.zeros(12))
    with pytest.raises(InputError, match="k_proj: factors of K and V must meet no bias"):
        fitted(even, tmp_path / "biased")
