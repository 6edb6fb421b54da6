"""The PYNQ-style driver against the AXI top in Amaranth's simulator: registers and DMA engines over real bus cycles."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.config import ArrayConfig
from hw.errors import InputError
from hw.formats import GemmFormat
from hw.gateware.bus.axi import CONTROL_BITS, IDENTITY, REGISTERS, STATUS_BITS, AxiCore
from hw.gateware.bus.register_map import DMA_STATUS
from hw.golden import gemm
from hw.host import zynq
from hw.host.line import LinkError
from hw.host.zynq import Accelerator, OwnEngine
from hw.job import golden_results
from hw.verilog import write_verilog
from hw.verilog_config import write_config
from tests.hw.gateware.rtl import random_case

CONFIG = ArrayConfig(name="4x3", rows=4, cols=3, weight_bus_bits=16, token_tile=4)


class SimulatedBus:
    """The AXI top with a clock, one register access at a time and three DMA engines."""

    def __init__(self, config: ArrayConfig):
        self.top = AxiCore(config)
        self.access: tuple[int, int | None] | None = None  # address, and what to write
        self.answer: int | None = None
        self.queues: dict[str, list[tuple[int, bool]]] = {"weights": [], "activations": []}
        self.buffer, self.filled = np.zeros((0, 1), np.int32), 0
        self._time = 0
        self._simulator = Simulator(self.top)
        self._simulator.add_testbench(self._play, background=True)
        self._simulator.run_until(40)
        self._time = 40

    def read(self, offset: int) -> int:
        return self._transact(offset, None)

    def write(self, offset: int, value: int) -> None:
        self._transact(offset, value)

    def _transact(self, offset: int, value: int | None) -> int:
        self.access, self.answer = (offset, value), None
        while self.answer is None:
            self._time += 4
            self._simulator.run_until(self._time)
        return self.answer

    async def _play(self, ctx) -> None:
        """One clock cycle after the other: drive, settle, look, edge."""
        top, edge = self.top, 0
        while True:
            ctx.set(top.aresetn, edge > 4)
            self._drive_registers(ctx)
            for name, queue in self.queues.items():
                data, last = queue[0] if queue else (0, False)
                ctx.set(getattr(top, f"s_axis_{name}_tvalid"), bool(queue))
                ctx.set(getattr(top, f"s_axis_{name}_tdata"), data)
                ctx.set(getattr(top, f"s_axis_{name}_tkeep"), -1)
                ctx.set(getattr(top, f"s_axis_{name}_tlast"), last)
            ctx.set(top.m_axis_results_tready, self.filled < len(self.buffer))
            await ctx.delay(0.5)
            self._look(ctx)
            ctx.set(top.aclk, 1)
            await ctx.delay(0.5)
            ctx.set(top.aclk, 0)
            edge += 1

    def _drive_registers(self, ctx) -> None:
        top = self.top
        reading = self.access is not None and self.access[1] is None
        writing = self.access is not None and self.access[1] is not None
        address, value = self.access or (0, 0)
        ctx.set(top.s_axil_araddr, address)
        ctx.set(top.s_axil_arvalid, reading)
        ctx.set(top.s_axil_awaddr, address)
        ctx.set(top.s_axil_awvalid, writing)
        ctx.set(top.s_axil_wdata, value or 0)
        ctx.set(top.s_axil_wstrb, 15)
        ctx.set(top.s_axil_wvalid, writing)
        ctx.set(top.s_axil_rready, 1)
        ctx.set(top.s_axil_bready, 1)

    def _look(self, ctx) -> None:
        """What this edge transfers."""
        top = self.top
        if self.access is not None and (ctx.get(top.s_axil_arready) or ctx.get(top.s_axil_awready)):
            self.access = None
        if ctx.get(top.s_axil_rvalid):
            self.answer = ctx.get(top.s_axil_rdata)
        if ctx.get(top.s_axil_bvalid):
            assert ctx.get(top.s_axil_bresp) == 0
            self.answer = 0
        for name, queue in self.queues.items():
            if queue and ctx.get(getattr(top, f"s_axis_{name}_tready")):
                queue.pop(0)
        if ctx.get(top.m_axis_results_tvalid) and self.filled < len(self.buffer):
            beat = ctx.get(top.m_axis_results_tdata)
            row = self.buffer[self.filled]
            row[:] = np.frombuffer(beat.to_bytes(row.nbytes, "little"), row.dtype)
            self.filled += 1
            assert ctx.get(top.m_axis_results_tlast) == (self.filled == len(self.buffer))


class SendChannel:
    """A DMA engine that sends a buffer as words of ``word_bytes``, TLAST with the last."""

    def __init__(self, bus: SimulatedBus, name: str, word_bytes: int):
        self.bus, self.name, self.word_bytes = bus, name, word_bytes

    def transfer(self, array: np.ndarray) -> None:
        data, size = array.tobytes(), self.word_bytes
        words = [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]
        self.bus.queues[self.name] += [(word, i == len(words) - 1) for i, word in enumerate(words)]


class ReceiveChannel:
    """A DMA engine that fills a buffer."""

    def __init__(self, bus: SimulatedBus):
        self.bus = bus

    def transfer(self, array: np.ndarray) -> None:
        self.bus.buffer, self.bus.filled = array, 0

    def wait(self) -> None:
        assert self.bus.filled == len(self.bus.buffer)


@pytest.fixture
def parts(tmp_path) -> tuple[Path, SimulatedBus, tuple]:
    described = tmp_path / "config.json"
    write_config(described, CONFIG, {}, registers={name: 4 * i for i, name in enumerate(REGISTERS)})
    bus = SimulatedBus(CONFIG)
    channels = (SendChannel(bus, "weights", 2), SendChannel(bus, "activations", CONFIG.rows), ReceiveChannel(bus))
    return described, bus, channels


def accelerator(config: ArrayConfig, folder: Path) -> Accelerator:
    described = folder / "config.json"
    write_config(described, config, {}, registers={name: 4 * i for i, name in enumerate(REGISTERS)})
    bus = SimulatedBus(config)
    weights = SendChannel(bus, "weights", config.weight_bus_bits // 8)
    return Accelerator(
        described, bus, weights, SendChannel(bus, "activations", config.rows), ReceiveChannel(bus), allocate
    )


def allocate(shape, dtype) -> np.ndarray:
    return np.zeros(shape, dtype)


def test_the_drivers_numbers_are_those_of_the_gateware():
    assert {name: CONTROL_BITS[name] for name in zynq.CONTROL_BITS} == zynq.CONTROL_BITS
    assert zynq._IDENTITY == IDENTITY
    assert STATUS_BITS["done"] == zynq._DONE_BIT
    assert set(zynq.FAULTS) == set(STATUS_BITS.values()) - {STATUS_BITS["running"], STATUS_BITS["done"]}
    names = {"error": "memory answered with an error", "unaligned": "the address is no multiple of 8"}
    told = {place: name.split("_") for name, place in DMA_STATUS.items()}
    assert {place: f"{name}: {names[fault]}" for place, (name, fault) in told.items()} == zynq._ENGINE_FAULTS


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 4), (9, 7, 13)])
def test_products_equal_the_golden_model_one_after_the_other(parts, size):
    described, bus, channels = parts
    core = Accelerator(described, bus, *channels, allocate)
    m, n, k = size
    rng = np.random.default_rng(m)
    for _ in range(2):
        q, trits = rng.integers(-127, 128, (m, k), dtype=np.int8), rng.integers(-1, 2, (n, k), dtype=np.int8)
        product = core.gemm(q, trits)
        np.testing.assert_array_equal(product.results, gemm(q, trits))
        assert product.counters["ideal"] == m * -(-n // 3) * -(-k // 4)
        assert sum(product.counters.values()) == 2 * product.counters["cycles"]


def test_another_design_at_these_registers_is_refused(parts, tmp_path):
    _, bus, channels = parts
    other = tmp_path / "other.json"
    array = ArrayConfig(**CONFIG.model_dump() | {"token_tile": 8})
    write_config(other, array, {}, registers={name: 4 * i for i, name in enumerate(REGISTERS)})
    with pytest.raises(LinkError, match=rf"^register config_hash must be 0x{array.sha256[:8]} as in "):
        Accelerator(other, bus, *channels, allocate)


def test_a_core_that_does_not_end_is_reported_and_works_after_the_reset(parts):
    described, bus, channels = parts
    core = Accelerator(described, bus, *channels, allocate, timeout_s=0.2)
    channels[1].word_bytes, whole = 10**6, channels[1].transfer
    channels[1].transfer = lambda array: None  # the engine never starts
    q, trits = np.ones((1, 4), np.int8), np.ones((3, 4), np.int8)
    with pytest.raises(LinkError, match=r"^the core is not done after 0.2 s, status 0x1: a stream stands$"):
        core.gemm(q, trits)
    channels[1].word_bytes, channels[1].transfer = CONFIG.rows, whole
    bus.queues["weights"].clear()
    core._timeout_s = 60
    np.testing.assert_array_equal(core.gemm(q, trits).results, [[4, 4, 4]])


def test_a_fault_of_the_streams_is_named(parts):
    described, bus, channels = parts
    core = Accelerator(described, bus, *channels, allocate)
    transfer = channels[0].transfer
    channels[0].transfer = lambda array: transfer(array[:2])  # TLAST on the first word
    with pytest.raises(LinkError, match=r"^the core reports: the weight stream ended at the wrong word$"):
        core.gemm(np.ones((1, 4), np.int8), np.ones((3, 4), np.int8))


def test_a_config_without_registers_is_no_axi_top(parts, tmp_path):
    _, bus, channels = parts
    plain = tmp_path / "plain.json"
    write_config(plain, CONFIG, {})
    with pytest.raises(
        InputError, match=rf"^{re.escape(str(plain))}: field 'registers' is missing, this is no AXI top"
    ):
        Accelerator(plain, bus, *channels, allocate)


@pytest.mark.parametrize("results", ["sums", "int8"])
def test_formats_reach_the_core_through_the_registers(results, tmp_path):
    options = {"planes": 2, "sum_of_x": True, "group_exponent_bits": 2, "results": results}
    config = CONFIG.model_copy(update=options | {"weight_bus_bits": 24})
    core = accelerator(config, tmp_path)
    rng = np.random.default_rng(3)
    for _ in range(6):
        case = random_case(rng, config, stalls=False)
        np.testing.assert_array_equal(core.run(case.job).results, golden_results(case.job, config))


def test_digits_and_their_order_reach_the_core_through_the_registers(tmp_path):
    options = {"planes": 5, "digits": True, "lane_loading": True, "results": "int8"}
    config = CONFIG.model_copy(update=options | {"weight_bus_bits": 24})
    core = accelerator(config, tmp_path)
    rng = np.random.default_rng(8)
    seen = set()
    for _ in range(10):
        case = random_case(rng, config, stalls=False)
        np.testing.assert_array_equal(core.run(case.job).results, golden_results(case.job, config))
        seen.add((case.formats.planes, case.formats.digits, case.formats.by_lanes))
    assert len(seen) > 4


@pytest.mark.parametrize("found", ["no digits", "0" * 63, "G" * 64, 7, None])
def test_a_hash_that_is_none_is_refused(found):
    with pytest.raises(InputError, match="field 'array_sha256' must be 64 hexadecimal digits"):
        zynq._hash_word(found, Path("config.json"))
    assert zynq._hash_word("89abcdef" + "0" * 56, Path("config.json")) == 0x89ABCDEF


@pytest.mark.parametrize(("planes", "word"), [(2, 1), (3, 2 << 2), (5, 4 << 2)])
def test_planes_stand_where_an_array_of_more_than_two_expects_them(planes, word):
    config = CONFIG.model_copy(update={"planes": planes})
    job = SimpleNamespace(formats=GemmFormat(planes))
    assert zynq.format_word(job, config) == word


class Buffer(np.ndarray):
    """A buffer as pynq.allocate gives it."""

    device_address = 0x12_3456_7890
    flushed = invalidated = False

    def flush(self):
        self.flushed = True

    def invalidate(self):
        self.invalidated = True


def test_an_engine_of_the_cores_own_is_told_where_a_packet_lies(tmp_path):
    described = write_verilog(CONFIG, tmp_path, "axi-dma")[-1]
    words = {}
    registers = SimpleNamespace(write=words.__setitem__)
    buffer = np.zeros(6, np.int32).view(Buffer)
    engine = OwnEngine(described, registers, "activations")
    engine.transfer(buffer)
    # By hand: 32 words of the map, 22 of them before the engines', three per engine.
    assert words == {4 * 25: 0x34567890, 4 * 26: 0x12, 4 * 27: 24}
    assert buffer.flushed
    results = OwnEngine(described, registers, "results")
    results.transfer(buffer)
    results.wait()
    assert buffer.invalidated


class FaultyEngines:
    """Registers of a core whose engines met faults; a reset clears the word that says which."""

    def __init__(self, described: dict):
        self.places = described["registers"]
        self.words = {"identity": IDENTITY, "config_hash": int(CONFIG.sha256[:8], 16), "geometry": 4 | 3 << 16}

    def read(self, offset: int) -> int:
        return next(self.words.get(name, 0) for name, place in self.places.items() if place == offset)

    def write(self, offset: int, value: int) -> None:
        if offset == self.places["control"]:
            started = value == 1 << CONTROL_BITS["start"]
            self.words |= {"status": 0x202, "dma_status": 0x41} if started else {"status": 0, "dma_status": 0}


def test_an_engine_that_met_a_fault_is_named_with_it(tmp_path):
    described = write_verilog(CONFIG, tmp_path, "axi-dma")[-1]
    registers = FaultyEngines(json.loads(described.read_text()))
    channels = (OwnEngine(described, registers, name) for name in ("weights", "activations", "results"))
    core = Accelerator(described, registers, *channels, lambda shape, dtype: np.zeros(shape, dtype).view(Buffer))
    with pytest.raises(
        LinkError,
        match=r"^the core reports: a DMA engine met a fault; weights: memory answered with an error; "
        r"results: the address is no multiple of 8$",
    ):
        core.gemm(np.ones((1, 4), np.int8), np.ones((3, 4), np.int8))
    assert registers.words["dma_status"] == 0


@pytest.mark.parametrize("place", [None, "84", 2, -4, 1 << 16])
def test_a_damaged_place_of_an_engines_register_is_told(place, tmp_path):
    described = write_verilog(CONFIG, tmp_path, "axi-dma")[-1]
    document = json.loads(described.read_text())
    document["registers"]["weights_address_high"] = place
    described.write_text(json.dumps(document))
    with pytest.raises(
        InputError, match=rf"register 'weights_address_high' must be a multiple of 4 .*, not {place!r};"
    ):
        OwnEngine(described, SimpleNamespace(), "weights")


def test_an_unknown_engine_is_told(tmp_path):
    described = write_verilog(CONFIG, tmp_path, "axi-dma")[-1]
    with pytest.raises(InputError, match=r"^engine must be one of weights, activations, results, not 'weight'$"):
        OwnEngine(described, SimpleNamespace(), "weight")


def test_a_top_without_engines_is_told(tmp_path):
    described = write_verilog(CONFIG, tmp_path, "axi")[-1]
    with pytest.raises(InputError, match=r"register 'weights_bytes' is missing, this is no top with engines; give the"):
        OwnEngine(described, SimpleNamespace(), "weights")
