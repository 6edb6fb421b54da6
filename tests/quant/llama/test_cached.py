"""Claims: one pass over a window is a token-by-token loop over a cache; every family's masks and caps are honoured."""

import pytest
import torch

from hw.errors import InputError
from quant.kv.agreement import HeadAgreement
from quant.kv.formats import parse_kv
from quant.llama.blocks import int8_activations
from quant.llama.cached import cached_attention
from quant.llama.evaluate import perplexity
from quant.llama.loading import load_model
from quant.source import resolve
from tests.naive_kv import NaiveDecoder
from tests.quant.families import FAMILIES, save_family
from tests.quant.tiny import TEXT

FORMATS = [
    "digits:5", "digits:3/2", "digits:3,rotate", "digits:4/3,rotate,past-only", "digits:4,levels=127", "int8",
    "int8,past-only",
    "wkvquant:4", "wkvquant:3,group=3", "wkvquant:4,past-only=0", "kivi:2,group=2,residual=4",
    "kivi:4,group=3,residual=6",
]  # fmt: skip


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("spelled", FORMATS)
def test_one_pass_is_a_loop_over_tokens(tiny, spelled, int8):
    form = parse_kv(spelled)
    tokens = torch.tensor(tiny.tokenizer.encode(TEXT)[:27])
    tiny.model.double()
    decoder = NaiveDecoder(tiny.model, form, int8)
    with torch.no_grad():
        stepped = torch.stack([decoder.step(token) for token in tokens.tolist()])
        with cached_attention(tiny.model, form), int8_activations(tiny.model, int8):
            whole = tiny.model(tokens[None]).logits[0]
        with int8_activations(tiny.model, int8):
            plain = tiny.model(tokens[None]).logits[0]
    assert (whole - stepped).norm() < 1e-6 * stepped.norm()
    assert (whole - plain).norm() > 1e-4 * plain.norm()  # the format is there at all


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cache_that_quantizes_nothing_leaves_every_family_as_it_is(family, tmp_path):
    save_family(family, tmp_path / "model")
    loaded = load_model(resolve(str(tmp_path / "model")))
    windows = torch.randint(0, 256, (2, 80), generator=torch.Generator().manual_seed(3))
    agreement = HeadAgreement()
    wanted = perplexity(loaded.model, windows, int8=False)
    with cached_attention(loaded.model, parse_kv("kivi:2,group=8,residual=96"), agreement):
        assert perplexity(loaded.model, windows, int8=False) == pytest.approx(wanted, rel=1e-5)
    assert agreement.worst.cosine == pytest.approx(1, abs=1e-5)
    assert agreement.cosines.shape == (4, 4)
    assert perplexity(loaded.model, windows, int8=False) == wanted  # afterwards the model is its own again


def test_streamed_blocks_read_the_same_cache(tmp_path):
    save_family("qwen2", tmp_path / "model")
    windows = torch.randint(0, 256, (3, 40), generator=torch.Generator().manual_seed(5))
    found = []
    for streamed in (False, True):
        loaded = load_model(resolve(str(tmp_path / "model")), streamed=streamed)
        agreement = HeadAgreement()
        with cached_attention(loaded.model, parse_kv("digits:2,rotate"), agreement):
            found.append((perplexity(loaded.model, windows, int8=True), agreement.worst))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert found[0][1][:2] == found[1][1][:2]


def test_rows_in_parts_are_rows_at_once(tiny, monkeypatch):
    windows = torch.tensor([tiny.tokenizer.encode(TEXT)[:60]])
    for spelled in FORMATS:
        found = []
        for rows in (7, 512):
            monkeypatch.setattr("quant.kv.attention._ROWS", rows)
            with cached_attention(tiny.model, parse_kv(spelled)):
                found.append(perplexity(tiny.model, windows, int8=False))
        assert found[0] == pytest.approx(found[1], rel=1e-5), spelled


def test_a_head_that_does_not_fit_is_refused_before_anything_runs(tiny):
    with pytest.raises(InputError, match="group must divide the head size 6, not 4; one of 1, 2, 3, 6 does"):  # noqa: SIM117
        with cached_attention(tiny.model, parse_kv("wkvquant:4,group=4")):
            raise AssertionError
