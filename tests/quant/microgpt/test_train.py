"""Training: the same twice, better than nothing, ternary, and the same function as the LLaMA that is written."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from quant.microgpt.checkpoint import write_checkpoint
from quant.microgpt.model import LINEARS, logits, ternary
from quant.microgpt.names import encoded
from quant.microgpt.train import train
from quant.microgpt.training import Training
from sim.microgpt.results import PARAMETERS, PUBLISHED

NAMES = tuple(sorted("".join(parts) for parts in product(("an", "be", "ca", "do"), ("na", "li", "ro"), ("", "n", "s"))))
JOB = Training(steps=40, batch=16)


def quiet(*_):
    pass


@pytest.fixture(scope="module")
def trained():
    return train(NAMES, JOB, quiet)


@pytest.fixture(scope="module")
def checkpoint(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("microgpt")
    write_checkpoint(folder, trained.parameters, NAMES)
    return folder


def test_the_same_seed_gives_the_same_model_and_another_one_another(trained):
    again = train(NAMES, JOB, quiet)
    assert again.loss == trained.loss
    assert all(torch.equal(again.parameters[name], value) for name, value in trained.parameters.items())
    other = train(NAMES, JOB.model_copy(update={"seed": 1}), quiet)
    assert not torch.equal(other.parameters["q"], trained.parameters["q"])


def test_it_learns_names_that_it_has_not_seen(trained):
    assert trained.names + trained.kept_back == len(NAMES)
    assert trained.loss < 0.8 * math.log(27)


def test_its_sizes_are_those_of_the_public_model_within_five_per_cent(trained):
    # embedding and head 2 x 27 x 24, attention 4 x 24 x 24, gate, up and down 3 x 64 x 24, gains 3 x 24
    assert trained.count == 2 * 27 * 24 + 4 * 24 * 24 + 3 * 64 * 24 + 3 * 24 == PARAMETERS
    # gateGPT: the same with 2 x 96 x 24 and positions 16 x 24
    assert PUBLISHED.parameters == 2 * 27 * 24 + 16 * 24 + 4 * 24 * 24 + 2 * 96 * 24 + 3 * 24
    assert abs(PARAMETERS / PUBLISHED.parameters - 1) < 0.05


def test_a_token_sees_its_past_alone(trained):
    tokens = torch.tensor([encoded(".annali")])
    whole = logits(trained.parameters, tokens)
    for length in range(1, tokens.shape[1]):
        part = logits(trained.parameters, tokens[:, :length])
        assert torch.allclose(part, whole[:, :length], atol=1e-5)


def test_transformers_computes_the_same_function_of_the_checkpoint(trained, checkpoint):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(checkpoint), AutoModelForCausalLM.from_pretrained(checkpoint)
    ids = tokenizer(".benaros", return_tensors="pt").input_ids
    assert ids[0].tolist() == encoded(".benaros")
    assert tokenizer.decode(ids[0]) == ".benaros"
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, logits(trained.parameters, ids), atol=1e-4)


def test_one_digit_holds_every_linear_exactly(trained, checkpoint):
    """Method digits finds the trained trits and scales again; queries are zero outside their own head's channels."""
    from safetensors.torch import load_file

    from quant.methods.digits import Options, solve

    tensors = load_file(checkpoint / "model.safetensors")
    for name, weight in tensors.items():
        if "proj" in name:
            solution = solve(weight, None, Options(digits=1))
            assert np.array_equal(solution.dense(), weight.numpy()), name
    places = {"q": 4, "o": 4}
    for name, (n, k) in LINEARS.items():
        kind = "mlp" if name in ("gate", "up", "down") else "self_attn"
        held = tensors[f"model.layers.0.{kind}.{name}_proj.weight"]
        assert held.numel() == places.get(name, 1) * n * k
        assert int((held != 0).sum()) == int((ternary(trained.parameters[name])[0] != 0).sum())
