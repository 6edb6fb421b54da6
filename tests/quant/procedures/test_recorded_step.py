"""Claims: a recorded step trains as the plain one does, on a GPU; without one it is the plain one."""

import pytest
import torch

from quant.procedures.recorded_step import RecordedStep


def losses(device: str, recorded: bool) -> list[float]:
    """Of ten steps of Adam towards inputs that change from step to step, at a rate that falls."""
    weight = torch.ones(3, device=device, requires_grad=True)
    rate = torch.tensor(0.1, device=device)
    gpu = device == "cuda"
    optimizer = torch.optim.Adam([weight], lr=rate if gpu else 0.1, fused=gpu, capturable=gpu)

    def train(wanted):
        loss = (weight - wanted).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    step, found = RecordedStep(train, recorded), []
    for number in range(10):
        optimizer.param_groups[0]["lr"] = rate.fill_(0.1 / (number + 1)) if gpu else 0.1 / (number + 1)
        found.append(step(torch.arange(3.0, device=device) * number).item())
    return found


def test_a_step_that_is_not_recorded_runs_as_it_is():
    found = losses("cpu", recorded=False)
    assert found[0] == 3.0
    assert found[1] == pytest.approx(0.9**2 + 0.1**2 + 1.1**2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA graph needs a GPU")
def test_a_recorded_step_trains_as_the_plain_one_does():
    assert losses("cuda", recorded=True) == pytest.approx(losses("cpu", recorded=False), rel=1e-5)
