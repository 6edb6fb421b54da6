"""Claims: tables in digits start rounded, train in every part, bring the model back, and are reloaded bit for bit."""

import numpy as np
import pytest
import torch

from hw.errors import InputError
from quant.llama.blocks import blocks, is_tied
from quant.llama.loading import load_model
from quant.methods.digits import fit_table
from quant.procedures.calibrate import token_windows
from quant.procedures.carry import carry
from quant.procedures.distill import Corpus, distill
from quant.procedures.latent import block_tensors
from quant.procedures.reconstruct import TrainingPlan
from quant.procedures.student.tables import DigitTable, KeptTable, Tables, digit_table, tables_of
from quant.quantizer import apply_checkpoint, put_beside
from quant.source import resolve
from quant.weights.checkpoint import Checkpoint, join_checkpoints
from quant.weights.stored_table import StoredTable
from tests.quant.procedures.test_modelwise import OPTIONS
from tests.quant.tiny import TEXT, save_tiny_llama, work_on


def weight(rows=30, columns=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    spread = torch.linspace(0.1, 2, columns)
    return torch.randn(rows, columns, generator=generator) * spread + torch.linspace(-1, 1, columns)


@pytest.mark.parametrize("digits", [1, 2, 3, 4])
def test_it_starts_at_the_rounded_table(digits):
    table, fit = digit_table(weight(), digits), fit_table(weight(), digits)
    assert (table.codes() == fit.codes).float().mean() > 0.99  # spread and mean are rounded to float16 in between
    wanted = fit.steps[:, None] * fit.spread * fit.codes + fit.mean
    assert (table.dense() - wanted).norm() / wanted.norm() < 0.03
    limit = (3**digits - 1) // 2
    assert table.latent.abs().max() <= limit + 0.5


def test_the_mean_row_is_out_and_channels_are_balanced():
    fit = fit_table(weight(), 3)
    assert torch.allclose(fit.mean, weight().mean(0))
    left = (weight() - weight().mean(0)) / fit.spread
    assert torch.allclose(left.square().mean(0), torch.ones(16), rtol=1e-4)


def test_gradients_reach_latent_codes_rows_spread_and_mean():
    table = digit_table(weight(), 2)
    for part in table.trained():
        part.requires_grad_(True)
    factor = torch.randn(30, 16)
    (table.dense() * factor).sum().backward()
    codes = table.codes()
    assert torch.allclose(table.latent.grad, factor * table.rows.detach() * table.spread.detach())
    assert torch.allclose(table.rows.grad[:, 0], (factor * table.spread.detach() * codes).sum(1), atol=1e-4)
    assert torch.allclose(table.spread.grad, (factor * table.rows.detach() * codes).sum(0), atol=1e-4)
    assert torch.allclose(table.mean.grad, factor.sum(0), atol=1e-5)


def test_a_soft_table_stands_between_its_latent_values_and_its_codes():
    table = digit_table(weight(), 1)
    soft, hard, between = (table._replace(hardness=torch.tensor(one)).dense() for one in (0.0, 1.0, 0.5))
    assert torch.allclose(hard, table.dense(), atol=1e-6)
    assert torch.allclose(between, (soft + hard) / 2, atol=1e-5)
    inside = (weight() - table.mean).abs() <= table.rows * table.spread
    assert torch.allclose(soft[inside], weight()[inside], atol=1e-4)


def test_rows_and_channels_that_went_negative_turn_their_codes():
    table = digit_table(weight(), 2)
    table.rows[3] *= -1
    table.spread[5] *= -1
    stored = table.stored()
    assert stored.rows.min() >= 0
    assert stored.spread.min() >= 0
    assert np.allclose(stored.dense(), table.dense().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("roles", ["both", "embedding", "head"])
@pytest.mark.parametrize("tied", [True, False])
def test_roles_say_which_tables_are_in_digits(tmp_path, tied, roles):
    loaded = load_model(resolve(str(save_tiny_llama(tmp_path / "model", tied=tied))))
    tables = tables_of(loaded, 1, roles, trained=False)
    assert isinstance(tables.embedding, DigitTable) == (roles != "head")
    assert isinstance(tables.head, DigitTable) == (roles != "embedding")
    assert (tables.head is tables.embedding) == (tied and roles == "both")
    if roles == "embedding":
        assert isinstance(tables.head, KeptTable) if tied else tables.head is None
    learned = tables_of(loaded, 1, roles, trained=True)
    assert isinstance(learned.embedding, DigitTable if roles != "head" else torch.Tensor)


def test_training_beside_a_float_body_brings_the_model_back(tiny):
    real = token_windows(tiny.tokenizer.encode(TEXT), 32, 40, "words")
    teacher = [block_tensors(block) for block in blocks(tiny.model)]
    student = [
        one._replace(attention_norm=one.attention_norm.clone(), mlp_norm=one.mlp_norm.clone()) for one in teacher
    ]
    norm, tables = tiny.model.model.norm.weight.detach().clone(), tables_of(tiny, 1, "both", trained=False)
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    codes = tables.head.codes()

    def run(steps, rate):
        plan = TrainingPlan(1, rate / 4, 256, 0, table_rate=rate)
        corpus = Corpus(real, real[:4], 0.5)
        return distill(tiny.model, teacher, student, norm, corpus, steps, plan, lambda *_: None, tables, int8=False)

    first = run(1, 1e-9)
    run(80, 0.03)
    assert run(1, 1e-9) < 0.6 * first
    assert not torch.equal(tables.head.codes(), codes)
    assert not any(part.requires_grad for part in tables.trained())
    assert all(torch.equal(value, before[name]) for name, value in tiny.model.state_dict().items())


@pytest.mark.parametrize("roles", ["both", "embedding", "head"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_run_is_reloaded_bit_for_bit(tmp_path, tied, roles):
    loaded = load_model(resolve(str(save_tiny_llama(tmp_path / "model", tied=tied))))
    windows = token_windows(loaded.tokenizer.encode(TEXT), 32, 12, "words")
    options = OPTIONS | {"table_digits": 2, "table_roles": roles}
    own = loaded.model.lm_head.weight.detach().clone(), loaded.model.model.embed_tokens.weight.detach().clone()
    written = carry(work_on(loaded, "pt-bitnet-full", windows, tmp_path / "run", **options))
    join_checkpoints(tmp_path / "all.safetensors", *written)
    checkpoint = Checkpoint(tmp_path / "all.safetensors")
    apply_checkpoint(loaded, checkpoint)
    embedding, head = loaded.model.model.embed_tokens.weight, loaded.model.lm_head.weight
    assert is_tied(loaded.model) == (tied and roles == "both")
    stored = checkpoint.tables()
    if roles != "head":
        assert np.array_equal(embedding.detach().numpy(), stored["embed_tokens"].dense())
    else:
        assert torch.equal(embedding, own[1])
    if roles != "embedding":
        name = "embed_tokens" if tied and roles == "both" else "lm_head"
        assert isinstance(stored[name], StoredTable)
        assert np.array_equal(head.detach().numpy(), stored[name].dense())
        assert set(np.unique(stored[name].codes)) <= set(range(-4, 5))
    else:
        assert torch.equal(head, own[0].half().float() if tied else own[0])
    again = load_model(resolve(str(tmp_path / "model")))
    apply_checkpoint(again, checkpoint)
    tokens = windows[:1]
    assert torch.equal(again.model(tokens).logits, loaded.model(tokens).logits)


def test_a_model_that_scales_its_embedding_is_refused(tiny, tmp_path):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 12, "words")
    scaled = tiny._replace(shape=tiny.shape.model_copy(update={"scaled": ("embedding",)}))
    work = work_on(scaled, "pt-bitnet-full", windows, tmp_path, **(OPTIONS | {"table_digits": 1}))
    with pytest.raises(InputError, match="option table_digits must be 0, since the model scales its embedding"):
        carry(work)


def test_digits_of_another_size_are_refused(tiny, tmp_path):
    made = Tables(None, digit_table(weight(), 1)).stored()
    join_checkpoints(tmp_path / "all.safetensors", [], {}, made)
    with pytest.raises(InputError, match=r"'lm_head' of shape \(30, 16\) is none of the model's"):
        put_beside(tiny, Checkpoint(tmp_path / "all.safetensors"))
