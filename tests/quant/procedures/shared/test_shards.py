"""Claims: parts are added in their order whoever computes them; two processes give the bits of one with two."""

import pytest
import torch

from hw.document import validate_document
from hw.errors import InputError
from quant.job import QuantJob, texts_of
from quant.pipeline import quantize
from quant.procedures.shared.devices import check_devices, check_shared
from quant.procedures.shared.processes import fixed_order
from quant.procedures.shared.shards import WHOLE, Shards, flat_gradients, put_gradients, shared_loss
from quant.quantizer import run_job
from quant.registry import options_for
from quant.source import located, resolve
from quant.weights.solution import LinearSolution, join_rows

FULL = {"epochs": 2, "block_tokens_per_step": 64, "distill_steps": 3, "distill_length": 32, "window": 2}
FULL |= {"distill_tokens_per_step": 128, "generated_windows": 3}


def job_of(folder, text, **changes):
    sizes = {"length": 32, "windows": 1, "calibration_windows": 4, "recorded_tokens": 8}
    return QuantJob(model=str(folder), text=text, calib=text, **sizes | changes)


def test_parts_are_added_in_their_order():
    """1 and -1 leave the small number only where they meet before it does."""
    large, small = torch.tensor([1e8, 1.0]), torch.tensor([1.0, 1.0])
    assert Shards(3).total([large, -large, small]).tolist() == [1.0, 1.0]
    assert Shards(3).total([large, small, -large]).tolist() == [0.0, 1.0]
    assert [part.tolist() for part in Shards(2).split(torch.arange(5))] == [[0, 1, 2], [3, 4]]
    assert [part.tolist() for part in Shards(2, 1, 2).split(torch.arange(5))] == [[3, 4]]
    assert Shards(2, 1, 2).mine == range(1, 2)
    own = Shards(2, 1, 2, local=True)
    assert own.held(torch.arange(4)).tolist() == [2, 3]
    assert own.split(torch.arange(2))[0].tolist() == [0, 1]
    assert (own.whole(3), WHOLE.whole(3)) == (6, 3)


def test_gradients_of_parts_are_those_of_the_batch():
    weight, unused = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    rows = torch.randn(6, 4, dtype=torch.float64)

    def part(some):
        loss = (some @ weight.T).square().sum() / len(rows)
        loss.backward()
        return flat_gradients([weight, unused], loss)

    loss = shared_loss(Shards(3), [weight, unused], [rows], part)
    wanted = 2 * weight.detach() @ rows.T @ rows / len(rows)
    assert torch.allclose(weight.grad, wanted)
    assert torch.equal(unused.grad, torch.zeros_like(unused))
    assert loss.item() == pytest.approx((rows @ weight.detach().T).square().sum().item() / 6)
    put_gradients([weight, unused], torch.arange(25.0, dtype=torch.float64))
    assert weight.grad[2, 3] == 11
    assert unused.grad[0, 0] == 12


def test_sums_have_one_order_inside_and_what_torch_did_before_afterwards(monkeypatch):
    """cuDNN's attention has no backward pass in one order, so parts go without it."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")

    def state():
        return torch.are_deterministic_algorithms_enabled(), torch.backends.cuda.cudnn_sdp_enabled()

    torch.backends.cuda.enable_cudnn_sdp(True)
    before = state()
    with fixed_order(1):
        assert state() == before == (False, True)
    with fixed_order(2):
        assert state() == (True, False)
    assert state() == before


def test_gradients_of_parts_are_taken_where_torch_refuses_sums_in_any_order():
    """Where torch only warns, flash attention's backward pass adds as it comes, and one GPU differs from itself."""
    weight, seen = torch.zeros(1, requires_grad=True), []

    def part(rows):
        seen.append(
            (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
        )
        loss = (weight * rows).sum()
        loss.backward()
        return flat_gradients([weight], loss)

    with fixed_order(2):
        shared_loss(Shards(2), [weight], [torch.arange(4.0)], part)
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert seen == [(True, False), (True, False)]
    assert weight.grad == 6
    assert not torch.are_deterministic_algorithms_enabled()


def test_rows_solved_apart_are_one_linear_again():
    trits = torch.randint(-1, 2, (1, 6, 8), dtype=torch.int8)
    whole = LinearSolution(trits, torch.rand(1, 6, 2).half(), 4, "group", offsets=torch.rand(6, 2).half())
    joined = join_rows(whole.split_rows([2, 3, 1]))
    for name in ("trits", "scales", "offsets"):
        assert torch.equal(getattr(joined, name), getattr(whole, name))
    with pytest.raises(InputError, match="cannot be put together"):
        join_rows([LinearSolution(trits, torch.ones(1, 6, 1).half(), None, "tensor")])


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ("cpu,cpu", "devices must be GPUs such as cuda:0,cuda:1, not 'cpu'; leave it out, --device cpu uses all cores"),
        ("cuda:0,cuda:0", "devices must be different GPUs, not cuda:0 twice"),
        ("cuda,cuda:0", "devices must be different GPUs, not cuda:0 twice"),
        ("cuda:0,", "devices must be GPUs such as cuda:0,cuda:1, not ''"),
        ("cuda:-1", "devices must be GPUs such as cuda:0,cuda:1, not 'cuda:-1'"),
    ],
)
def test_devices_that_cannot_be_meant_are_refused(devices, message):
    with pytest.raises(InputError, match=message):
        validate_document({"model": "m", "devices": devices}, QuantJob, "options")


def test_devices_that_are_not_there_and_what_does_not_go_with_them(monkeypatch, tiny_folder, tiny_text):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    job = job_of(tiny_folder, tiny_text, devices="cuda:0,cuda:1")
    with pytest.raises(InputError, match="devices must be there, not 'cuda:0': torch sees no GPU here"):
        quantize(job)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices(["cuda:0", "cuda:1"])
    with pytest.raises(InputError, match="not 'cuda:2': torch sees cuda:0 to cuda:1"):
        check_devices(["cuda:2"])
    with pytest.raises(InputError, match="devices must be left out with minutes"):
        quantize(job.model_copy(update={"minutes": 1.0}))
    with pytest.raises(InputError, match="shards must be 2 with 2 devices, or left out, not 3"):
        quantize(job.model_copy(update={"shards": 3}))
    for method in ("omniquant", "peqa"):
        with pytest.raises(InputError, match=f"devices must be left out with method '{method}': shared can be"):
            check_shared(
                method, options_for(method, {"objective": "block"} if method == "omniquant" else {}), "devices"
            )


def test_batches_that_cannot_be_shared_equally_are_refused(monkeypatch, tmp_path, tiny_folder, tiny_text):
    monkeypatch.chdir(tmp_path)
    full = job_of(tiny_folder, tiny_text, method="pt-bitnet-full", options=FULL, shards=3)
    with pytest.raises(InputError, match="block_tokens_per_step must give each of 3 shards as many windows of 32"):
        quantize(full)
    options = FULL | {"epochs": 0}
    with pytest.raises(InputError, match=r"4 windows \(128 tokens\) to all; a multiple of 96, such as 96, does"):
        quantize(full.model_copy(update={"options": options}))
    with pytest.raises(InputError, match="calibration_windows must be a multiple of the 3 shards, not 4"):
        quantize(job_of(tiny_folder, tiny_text, shards=3))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), [("pt-bitnet", {}), ("gptq", {}), ("pt-bitnet-full", FULL)])
def test_two_processes_end_with_the_bits_of_one(method, options, monkeypatch, tmp_path, tiny_folder, tiny_text):
    """gloo between two CPU processes, which is not refused behind ``quantize``; resumed from half of it too."""
    monkeypatch.chdir(tmp_path)
    job = job_of(tiny_folder, tiny_text, method=method, options=options, shards=2)
    alone = quantize(job)
    source = located(resolve(job.model))
    texts = texts_of(job, source.shape.max_positions)
    both = tmp_path / "both"
    shared = job.model_copy(update={"devices": "cpu,cpu"})
    run_job(shared, source, texts, both, both, lambda *_: None, {})
    written = (both / "ternary.safetensors").read_bytes()
    assert written == (alone.folder / "ternary.safetensors").read_bytes()
    whole = quantize(job.model_copy(update={"shards": None}))
    assert whole.folder != alone.folder
    (both / "ternary.safetensors").unlink()
    for part in (both / "parts").glob("1.*"):
        part.unlink()
    run_job(shared, source, texts, both, both, lambda *_: None, {})
    assert (both / "ternary.safetensors").read_bytes() == written
