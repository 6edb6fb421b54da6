"""A token on the whole-token machine in Amaranth's simulator: what every edge does, and every signal as a waveform."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
from amaranth.lib.wiring import PureInterface
from amaranth.sim import Simulator, SimulatorContext

from hw.artifact import atomic_path
from hw.errors import InputError
from hw.gateware.whole.datapath import Kernel
from hw.gateware.whole.machine import Machine
from hw.gateware.whole.ports import POSITION_BITS
from hw.gateware.whole.scale_unit import ScaleTask
from hw.program.image import Image
from hw.program.instructions import OPERATIONS
from hw.program.interpreter import Interpreter, Status

__all__ = ["TokenEdge", "play_token"]

_PERIOD_S = 10e-9
_LONGEST = 20_000  # edges that are simulated, some hundred of them per second


class TokenEdge(NamedTuple):
    """What one rising edge does; numbers count from 0, None where nothing happens."""

    request: tuple[int, int] | None  # address and words of a burst that memory begins
    word: bool  # memory gives a word
    write: bool  # memory takes a word, or parts of it
    front: str  # of the next instruction: "fetch", "look up", "ready", or "" where there is none
    runs: int | None  # number of the instruction that runs
    counter: int | None  # edges that the instruction took which this edge ends
    weights: bool  # a beat of weights enters the array
    vector: bool  # an int8 vector enters the array
    sums: bool  # a beat of sums leaves the array
    lanes: str  # the kernel of the word that enters the vector lanes; "scan": only its maximum is looked for
    divides: str  # what the scale unit works on: "root", "divide", or nothing


def play_token(
    image: Image,
    token: int,
    last: int | None = None,
    latency: int = 8,
    waveform: Path | None = None,
    say: Callable[[str], None] = lambda stage: None,
) -> list[TokenEdge]:
    """Edges from the one that takes ``token`` at position 0 to the end of instruction ``last`` (None: of STOP).

    Memory gives the first word of a burst ``latency`` edges behind its request, then one per edge. Its contents at the
    end, and the next token, must be those of the interpreter. ``waveform``: write every signal into this ``.vcd`` file.
    ``say``: told how far it is.

    Raises:
        InputError: no such token, or more edges than a picture is for.
        RuntimeError: the machine did something else than the interpreter, or stopped: a defect.
    """
    golden = Interpreter(image)
    if not 0 <= token < golden.header.vocabulary:
        raise InputError(f"token must be 0 to {golden.header.vocabulary - 1}, not {token}")
    player = _Player(image, token, last, latency, say)
    simulator = Simulator(player.dut)
    simulator.add_clock(_PERIOD_S)
    simulator.add_testbench(player.bench)
    with atomic_path(waveform) if waveform else nullcontext() as path:
        with simulator.write_vcd(str(path)) if path else nullcontext():
            simulator.run()
    if player.ended and (golden.step(token), golden.memory.tolist()) != (player.answer, player.memory.tolist()):
        raise RuntimeError("the machine's answer or memory differ from the interpreter's")
    return player.edges


class _Player:
    """Memory and host of a machine, and notes of what happens."""

    def __init__(self, image: Image, token: int, last: int | None, latency: int, say: Callable[[str], None]):
        self.dut, self.image, self.token, self.last = Machine(image.machine), image, token, last
        self.latency, self.say = latency, say
        self.memory = np.zeros((image.header.memory_words, image.machine.word_bytes), np.uint8)
        self.memory.reshape(-1)[: len(image.memory)] = image.memory
        self.edges: list[TokenEdge] = []
        self.left = self.address = self.wait = 0  # of the burst under way
        self.runs: int | None = None
        self.answer, self.ended = 0, False
        self._looks, self._divides = False, ""

    async def bench(self, ctx: SimulatorContext) -> None:
        """The header is read before the token is taken; then an edge after the other."""
        dut = self.dut
        ctx.set(dut.writes.ready, 1)
        ctx.set(dut.next.ready, 1)
        ctx.set(dut.tokens.payload, self.token | 1 << POSITION_BITS)
        while not ctx.get(dut.tokens.ready):
            self._serve(ctx)
            await self._tick(ctx)
        ctx.set(dut.tokens.valid, 1)
        while not (self.edges and ctx.get(dut.tokens.ready)):
            if len(self.edges) >= _LONGEST:
                raise InputError(f"instructions must end within {_LONGEST:,} edges of the token: give fewer")
            request, word = self._serve(ctx)
            self.edges.append(self._look(ctx, request, word))
            if self.edges[-1].counter is not None:
                self.say(f"instruction {self.edges[-1].runs}, {len(self.edges):,} edges")
            await self._tick(ctx)
            ctx.set(dut.tokens.valid, 0)
            if self.edges[-1].counter is not None and self.edges[-1].runs == self.last:
                return
        self.ended = True

    async def _tick(self, ctx: SimulatorContext) -> None:
        await ctx.tick()
        if status := ctx.get(self.dut.status):
            raise RuntimeError(f"the machine stopped with status {status}, {Status(status).name}")

    def _serve(self, ctx: SimulatorContext) -> tuple[tuple[int, int] | None, bool]:
        """Memory on this edge: the burst that it begins, and whether a word goes over."""
        dut = self.dut
        ctx.set(dut.request.ready, self.left == 0)
        valid = self.left > 0 and self.wait == 0
        ctx.set(dut.words.valid, valid)
        if valid:
            ctx.set(dut.words.payload, int.from_bytes(self.memory[self.address].tobytes(), "little"))
        request, word = None, valid and bool(ctx.get(dut.words.ready))
        self.wait -= self.wait > 0
        if self.left == 0 and ctx.get(dut.request.valid):
            asked = dut.request.payload
            request = self.address, self.left = ctx.get(asked.address), ctx.get(asked.count)
            self.wait = self.latency - 1
        elif word:
            self.left, self.address = self.left - 1, self.address + 1
        if ctx.get(dut.writes.valid):
            self._write(ctx)
        return request, word

    def _write(self, ctx: SimulatorContext) -> None:
        payload = self.dut.writes.payload
        data = ctx.get(payload.data).to_bytes(self.memory.shape[1], "little")
        mask = ctx.get(payload.mask)
        chosen = [place for place in range(len(data)) if mask >> place & 1]
        self.memory[ctx.get(payload.address), chosen] = [data[place] for place in chosen]

    def _look(self, ctx: SimulatorContext, request: tuple[int, int] | None, word: bool) -> TokenEdge:
        """Everything else of this edge."""
        dut, path, unit = self.dut, self.dut.vector.path, self.dut.vector.scale_unit
        kernel = Kernel(ctx.get(path.kernel)).name if ctx.get(path.issue) else ""
        if ctx.get(unit.start):
            self._divides = "root" if ctx.get(unit.task) == ScaleTask.ROOT else "divide"
        edge = TokenEdge(
            request=request,
            word=word,
            write=bool(ctx.get(dut.writes.valid)),
            front=self._front(ctx),
            runs=self.runs,
            counter=ctx.get(dut.counter) if ctx.get(dut.retired) else None,
            weights=_moves(ctx, dut.core.weights),
            vector=_moves(ctx, dut.core.activations),
            sums=_moves(ctx, dut.core.results),
            lanes="scan" if ctx.get(path.scan) else kernel,
            divides=self._divides,
        )
        if ctx.get(unit.done):
            self._divides = ""
        if edge.counter is not None:
            self.runs = None
        if ctx.get(dut.front.take):
            self.runs = ctx.get(dut.front.number)
            self._looks = ctx.get(dut.front.instruction.operation) != OPERATIONS["STOP"].code
        self._looks |= bool(ctx.get(dut.front.start))
        return edge

    def _front(self, ctx: SimulatorContext) -> str:
        front = self.dut.front
        if ctx.get(front.ask) or ctx.get(front.reading):
            return "fetch"
        if ctx.get(front.ready):
            return "ready"
        return "look up" if self._looks else ""


def _moves(ctx: SimulatorContext, port: PureInterface) -> bool:
    return bool(ctx.get(port.valid) and ctx.get(port.ready))
