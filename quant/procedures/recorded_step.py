"""A training step of fixed shapes as one CUDA graph, so that its thousands of kernels are launched at once.

Ref: PyTorch, "CUDA semantics", whole-network capture. A small model's step is done sooner than a processor launches it
kernel by kernel.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["RecordedStep"]

_EAGER_STEPS = 3  # before recording: compilation, and the optimizer's state


class RecordedStep:
    """``step(*inputs) -> loss`` that also trains; recorded on a GPU once it has run a few times, as it is on a CPU.

    The step must read what changes from call to call in ``inputs`` and in tensors that are changed in place, and must
    never wait for the device. The loss is overwritten by the next call.
    """

    def __init__(self, step: Callable[..., Tensor], recorded: bool) -> None:
        self._step, self._recorded = step, recorded
        self._ran = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._loss: Tensor | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Train once."""
        if not self._recorded:
            return self._step(*inputs)
        if self._graph is None:
            if self._ran < _EAGER_STEPS:
                self._ran += 1
                return self._beside(inputs)
            self._record(inputs)
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._graph.replay()
        return self._loss

    def _beside(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Run on a stream of its own, as what is to be recorded must."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            loss = self._step(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return loss

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(given.clone() for given in inputs)
        torch.cuda.empty_cache()  # the graph keeps memory of its own
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = self._step(*self._inputs)
