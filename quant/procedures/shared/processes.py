"""A process for each device: the first is this one, the others follow it step by step and end with it.

Ref: torch.distributed; NCCL between GPUs, gloo between CPUs. A follower that fails ends the job; one whose leader is
gone ends itself.
"""

import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from hw.errors import InputError
from quant.procedures.shared.shards import Shards, one_order

__all__ = ["fixed_order", "processes"]

_LOOK_S = 0.5  # between looks at the other processes
_PATIENCE_AT_THE_END_S = 10.0  # until the others have ended by themselves
_PATIENCE = timedelta(hours=2)  # of one waiting for another, which may be solving a large block

Follow = Callable[..., None]  # (shards, device, *arguments)


@contextmanager
def processes(devices: Sequence[str], follow: Follow, arguments: tuple) -> Iterator[Shards]:
    """Inside, ``follow(shards, device, *arguments)`` runs for each device but the first, which is for the caller."""
    if len(devices) < 2:
        yield Shards()
        return
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        others = [
            context.Process(target=_run, args=(rank, list(devices), meeting, os.getpid(), follow, arguments))
            for rank in range(1, len(devices))
        ]
        for process in others:
            process.start()
        ended = threading.Event()
        threading.Thread(target=_watch, args=(others, devices, ended), daemon=True).start()
        patience_s = 0.0
        try:
            _join(0, devices, meeting)
            yield Shards(len(devices), 0, len(devices))
            distributed.barrier()
            patience_s = _PATIENCE_AT_THE_END_S
        finally:
            ended.set()
            for process in others:
                process.join(timeout=patience_s)
                process.kill()
            if distributed.is_initialized():
                distributed.destroy_process_group()


@contextmanager
def fixed_order(shards: int) -> Iterator[None]:
    """Inside, where there are several shards, sums on a GPU have one order each; torch warns of those that have not.

    Gradients are stricter (``shards.shared_loss``). cuDNN's attention, which is not to be had in one order, is left out
    everywhere.
    """
    if shards < 2:
        yield
        return
    filled = torch.utils.deterministic.fill_uninitialized_memory
    attention = torch.backends.cuda.cudnn_sdp_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is made
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        with one_order(warn_only=True):
            yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = filled
        torch.backends.cuda.enable_cudnn_sdp(attention)


def _run(rank: int, devices: list[str], meeting: str, leader: int, follow: Follow, arguments: tuple) -> None:
    threading.Thread(target=_end_with, args=(leader,), daemon=True).start()
    try:
        _join(rank, devices, meeting)
        with fixed_order(len(devices)):
            follow(Shards(len(devices), rank, len(devices)), devices[rank], *arguments)
        distributed.barrier()
    except (InputError, torch.OutOfMemoryError) as error:
        print(f"{devices[rank]}: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        os._exit(1)


def _join(rank: int, devices: Sequence[str], meeting: str) -> None:
    gpu = torch.device(devices[rank]).type == "cuda"
    if gpu:
        torch.cuda.set_device(devices[rank])
    distributed.init_process_group(
        "nccl" if gpu else "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=len(devices),
        timeout=_PATIENCE,
    )


def _watch(others: list, devices: Sequence[str], ended: threading.Event) -> None:
    """End this process, which waits for the others, once one of them has failed."""
    while not ended.wait(_LOOK_S):
        for process, device in zip(others, devices[1:], strict=True):
            if process.exitcode:
                print(f"error: the process of device {device} ended with status {process.exitcode}", file=sys.stderr)
                for other in others:
                    other.kill()
                os._exit(2)


def _end_with(leader: int) -> None:
    while os.getppid() == leader:
        time.sleep(_LOOK_S)
    os._exit(1)
