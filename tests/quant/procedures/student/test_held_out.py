"""Claims: training that does harm on held-out windows is undone; held-out windows teach nothing."""

import pytest
import torch

from hw.errors import InputError
from quant.procedures import modelwise
from quant.procedures.calibrate import token_windows
from quant.procedures.carry import carry
from quant.procedures.reconstruct import reconstruct
from quant.procedures.student.held_out import nearer
from quant.weights.checkpoint import join_checkpoints
from tests.quant.procedures.test_modelwise import OPTIONS
from tests.quant.tiny import TEXT, work_on


def quantized(loaded, folder, windows, **changes) -> bytes:
    work = work_on(loaded, "pt-bitnet-full", windows, folder, **(OPTIONS | {"generated_windows": 0} | changes))
    join_checkpoints(folder / "all.safetensors", *carry(work))
    return (folder / "all.safetensors").read_bytes()


@pytest.fixture
def windows(tiny):
    return token_windows(tiny.tokenizer.encode(TEXT), 32, 12, "words")


def test_what_is_nearer_is_kept():
    assert nearer(3, 2, float, "here") == 2
    assert nearer(2, 3, float, "here") == 2
    assert nearer(2, float("nan"), float, "here") == 2


def test_a_reconstruction_that_does_harm_is_undone(tiny, tmp_path, windows, monkeypatch):
    def harmful(*arguments):
        error = reconstruct(*arguments)
        for tensors in arguments[2]:
            for weight in tensors.weights:
                weight.latent.copy_(torch.randn_like(weight.latent))
        return error

    untrained = quantized(tiny, tmp_path / "untrained", windows, epochs=0, distill_steps=0, held_out=2)
    monkeypatch.setattr(modelwise, "reconstruct", harmful)
    assert quantized(tiny, tmp_path / "undone", windows, distill_steps=0, held_out=2) == untrained
    assert quantized(tiny, tmp_path / "kept", windows, distill_steps=0) != untrained


@pytest.mark.parametrize("tables", [{}, {"tables": "trained"}, {"table_digits": 1}], ids=str)
def test_a_distillation_that_does_harm_is_undone(tiny, tmp_path, windows, tables):
    reckless = {"distill_steps": 3, "distill_rate": 3.0, "table_rate": 3.0, "held_out": 2, "epochs": 1} | tables
    undone = quantized(tiny, tmp_path / "undone", windows, **reckless)
    # As good as no step at all: of a rate so small that nothing moves by as much as float16 shows.
    still = {"distill_rate": 1e-12, "table_rate": 1e-12, "held_out": 2}
    assert undone == quantized(tiny, tmp_path / "still", windows, **(reckless | still))
    assert undone != quantized(tiny, tmp_path / "reckless", windows, **(reckless | {"held_out": 0}))


def test_held_out_windows_teach_nothing(tiny, tmp_path, windows):
    other = windows.clone()
    other[-2:] = other[-2:].flip(1)
    one, two = (quantized(tiny, tmp_path / name, text, held_out=2) for name, text in (("one", windows), ("two", other)))
    assert one == two


def test_all_windows_held_out_are_refused(tiny, tmp_path, windows):
    with pytest.raises(InputError, match=r"^option held_out must be below the 12 calibration windows, not 12"):
        quantized(tiny, tmp_path, windows, held_out=12)
