"""Claims: adapters lower the quantized model's loss, are merged into the float weights, and resume to equal bytes."""

import pytest
import torch

from hw.errors import InputError
from quant.llama.blocks import decoder_linears, embed
from quant.procedures.calibrate import token_windows
from quant.procedures.carry import carry
from quant.procedures.latent import block_function, rotary_tables
from quant.procedures.tuned import preprocess
from quant.shapes import LINEAR_KINDS
from quant.weights.checkpoint import Checkpoint
from tests.quant.tiny import TEXT, work_on

STEPS = {"preprocess_steps": 30, "preprocess_rank": 4, "preprocess_rate": 0.02, "preprocess_windows": 0}


def work(tiny, folder, progress=lambda *_: None, **given):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 12, "words")
    return work_on(tiny, "ptq1.61", windows, folder, progress, epochs=1, block_tokens_per_step=128, **given)


def weights_of(tiny):
    return {(one.layer, one.kind): one.module.weight.detach().clone() for one in decoder_linears(tiny.model)}


@pytest.fixture(autouse=True)
def short_steps(monkeypatch):
    monkeypatch.setattr(preprocess, "_TOKENS_PER_STEP", 128)


def test_adapters_are_merged_into_all_linears_but_o_and_lower_the_quantized_models_loss(tiny, tmp_path, monkeypatch):
    before, losses, real = weights_of(tiny), [], preprocess.tune
    function, trained_changes = block_function(tiny.model, False, False), {}

    def watch(loaded, student, trained, windows, *rest):
        def loss():
            hidden = embed(tiny.model, windows[:4])
            for tensors in student:
                hidden = function(hidden, *rotary_tables(tiny.model, 32), tensors)
            logits = tiny.model.lm_head(tiny.model.model.norm(hidden))[:, :-1]
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:4, 1:].flatten()).item()

        losses.append(loss())
        real(loaded, student, trained, windows, *rest)
        losses.append(loss())
        for layer, tensors in enumerate(student):
            for kind, weight in zip(LINEAR_KINDS, tensors.weights, strict=True):
                if kind != "o_proj":
                    trained_changes[layer, kind] = weight.dense().detach() - weight.base

    monkeypatch.setattr(preprocess, "tune", watch)
    carry(work(tiny, tmp_path, **STEPS))
    assert losses[1] < 0.97 * losses[0]
    after = weights_of(tiny)
    for (layer, kind), weight in after.items():
        change = weight - before[layer, kind]
        if kind == "o_proj":
            assert not change.any()
        else:
            torch.testing.assert_close(change, trained_changes[layer, kind], rtol=1e-4, atol=1e-6)
            assert 1 <= torch.linalg.matrix_rank(change, atol=1e-5) <= 4


def test_a_correction_is_alpha_over_rank_times_the_product_and_starts_at_none():
    generator = torch.Generator().manual_seed(0)
    base, left, right = (torch.randn(*shape, generator=generator) for shape in ((3, 5), (3, 2), (2, 5)))
    adapted = preprocess.AdaptedWeight(base, left, right, 16 / 2)
    expected = [[base[i, j] + 8 * sum(left[i, r] * right[r, j] for r in range(2)) for j in range(5)] for i in range(3)]
    torch.testing.assert_close(adapted.dense(), torch.tensor(expected))


def test_the_second_pass_quantizes_the_changed_weights_and_resumes_to_equal_bytes(tiny, tmp_path):
    plain = carry(work(tiny, tmp_path / "plain")).parts
    originals = weights_of(tiny)
    whole = carry(work(tiny, tmp_path / "whole", **STEPS)).parts
    assert (
        Checkpoint(plain[0]).solution(0, "up_proj").dense() != Checkpoint(whole[0]).solution(0, "up_proj").dense()
    ).any()
    for stage, after in (("preprocess", 10), ("quantize", 1)):
        with torch.no_grad():
            for one in decoder_linears(tiny.model):
                one.module.weight.copy_(originals[one.layer, one.kind])
        folder, seen = tmp_path / f"killed-{stage}", []

        def kill(name, done, total, stage=stage, after=after, seen=seen):
            seen.append(name)
            if name == stage and done >= after and (stage == "preprocess" or "preprocess" in seen):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            carry(work(tiny, folder, kill, **STEPS))
        with torch.no_grad():
            for one in decoder_linears(tiny.model):
                one.module.weight.copy_(originals[one.layer, one.kind])
        resumed = carry(work(tiny, folder, **STEPS)).parts
        assert [path.read_bytes() for path in resumed] == [path.read_bytes() for path in whole]


def test_text_that_the_model_writes_is_trained_on_too(tiny, tmp_path):
    stages = []
    carry(
        work(
            tiny,
            tmp_path,
            lambda name, *_: stages.append(name),
            **STEPS | {"preprocess_steps": 2, "preprocess_windows": 3},
        )
    )
    assert {"generate text", "preprocess", "quantize"} <= set(stages)


def test_a_rank_above_the_width_is_refused_before_the_first_pass(tiny, tmp_path):
    with pytest.raises(
        InputError, match=r"option 'preprocess_rank' must be at most 12, the narrowest linear of .*, not 13"
    ):
        carry(work(tiny, tmp_path, **STEPS | {"preprocess_rank": 13}))
    assert not (tmp_path / "first").exists()
