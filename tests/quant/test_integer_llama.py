"""The integer LLaMA against torch's forward pass with the same planes and int8 activations, and its sampling."""

import struct

import numpy as np
import pytest
import torch

from hw.golden import gemm
from quant.integer_llama import IntegerLlama
from quant.llama.blocks import decoder_linears, int8_activations
from quant.llama.loading import load_model
from quant.methods.ptqtp import Options, solve
from quant.source import resolve

DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCAB, CONTEXT = 136, 144, 2, 4, 2, 11, 16


@pytest.fixture(scope="module", params=[VOCAB, -VOCAB], ids=["tied", "own head"])
def path(request, tmp_path_factory):
    """A random llama2.c file; 136 inputs are a whole group of 128 and a short one."""
    rng, kv = np.random.default_rng(1), KV_HEADS * DIM // HEADS
    shapes = [
        (VOCAB, DIM), (LAYERS, DIM), (LAYERS, DIM, DIM), (LAYERS, kv, DIM), (LAYERS, kv, DIM), (LAYERS, DIM, DIM),
        (LAYERS, DIM), (LAYERS, HIDDEN, DIM), (LAYERS, DIM, HIDDEN), (LAYERS, HIDDEN, DIM), (DIM,),
        (CONTEXT * DIM // HEADS,),
    ]  # fmt: skip
    if request.param < 0:
        shapes.append((VOCAB, DIM))
    arrays = [rng.normal(1 if shape in ((LAYERS, DIM), (DIM,)) else 0, 0.15, shape).astype("<f4") for shape in shapes]
    path = tmp_path_factory.mktemp("llama2c") / "random.bin"
    header = struct.pack("<7i", DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, request.param, CONTEXT)
    path.write_bytes(header + b"".join(array.tobytes() for array in arrays))
    entries = b"".join(struct.pack("<fi", 0, 1) + bytes([97 + i]) for i in range(VOCAB))
    (path.parent / f"tok{VOCAB}.bin").write_bytes(struct.pack("<i", 1) + entries)
    return path


def engine(kind, q, trits):
    assert kind.endswith("_proj")
    return gemm(q, trits)


def test_logits_equal_those_of_torch_with_the_same_planes(path):
    ours, loaded = IntegerLlama(path, engine), load_model(resolve(str(path)))
    with torch.no_grad():
        for linear in decoder_linears(loaded.model):
            linear.module.weight.copy_(solve(linear.module.weight, None, Options()).dense())
        tokens = [1, 5, 9, 3, 3, 7]
        with int8_activations(loaded.model):
            expected = loaded.model(torch.tensor([tokens])).logits[0].numpy()
    found = np.stack([ours.logits(token) for token in tokens])
    np.testing.assert_allclose(found, expected, atol=2e-2 * np.abs(expected).max())
    np.testing.assert_allclose(np.median(np.abs(found - expected)), 0, atol=1e-3 * np.abs(expected).max())


def test_tokens_are_drawn_by_the_gumbel_maximum_after_the_start(path):
    ours = IntegerLlama(path, engine)
    written = list(ours.write(6, seed=4))
    rng, token, expected, again = np.random.default_rng(4), 1, [], ours.anew(engine)
    for _ in range(6):
        token = int((again.logits(token) + rng.gumbel(size=VOCAB)).argmax())
        expected.append(token)
    assert written == expected
