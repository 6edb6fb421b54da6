"""Published and measured figures of other simulators and of a chip, and what this simulator says of the same machine.

Each machine is written down here with every assumption and its source; nothing is fitted but what is called assumed.
"""

from typing import NamedTuple

from hw.config import ArrayConfig
from quant.shapes import LINEAR_KINDS, Gemm, load_shape
from sim.gemm.closed_form import scale_sim_cycles
from sim.gemm.cost import gemm_cost
from sim.gemm.schedule import GemmJob
from sim.memory import MemoryConfig, load_memory
from sim.result import SimResult
from sim.simulator import simulate
from sim.trace.ops import Formats

__all__ = ["ASSUMPTIONS", "Agreement", "agreements", "zigzag_machine"]

ASSUMPTIONS = {
    "ZigZag, AccelForge": (
        "32x32 int8 lanes at 1 GHz, 256 KiB each for activations and weights, 32 GB/s of memory of which nothing is "
        "lost and whose first word comes at once, a weight bus as wide as the memory (32 bytes per cycle), int8 KV "
        "cache, batch 1; ZigZag 3.9.1 and AccelForge 1.0.467 run on LLaMA-2-7B shapes",
    ),
    "VitaLLM": (
        "published (arXiv 2604.27396, 2605.00320): 1 GHz, 120 KB of SRAM, BitNet b1.58 3B, 64 tokens of prefill in "
        "0.88 s, 70.7 tokens/s of decode",
        "assumed: 256 lanes as 16x16 (64 tokens x 3.22e9 MACs in 0.88 s at 1 GHz are 234 per cycle)",
        "assumed: 512 bits of weights per cycle and a memory of 64 GB/s that feeds them, since the published decode "
        "rate needs 57 GB/s of two-bit weights",
        "assumed: 60 KiB each for activations and weights, 64 lanes for int8 attention and lm_head, int8 KV cache; "
        "its predictive pruning of the KV cache is not modelled",
    ),
}

_ZIGZAG_MEMORY_BYTES_PER_S = 32e9
_VITALLM_MEMORY_BYTES_PER_S = 64e9


class Agreement(NamedTuple):
    """One figure of a reference, and what this simulator gives."""

    reference: str
    what: str
    unit: str
    published: float
    simulated: float
    tolerance: float  # relative, that a test holds; 0 = equal

    @property
    def difference(self) -> float:
        """Relative difference of the simulated from the published figure."""
        return self.simulated / self.published - 1


def agreements() -> list[Agreement]:
    """All figures, simulated now."""
    return [*_scale_sim(), *_zigzag_and_accelforge(), *_dram(), *_vitallm()]


def _scale_sim() -> list[Agreement]:
    gemm = Gemm(1, 4096, 4096)
    runs = [("ws", 32, 1_556_479), ("os", 32, 532_223), ("ws", 64, 782_335)]
    return [
        Agreement(
            "SCALE-Sim 3.0.0",
            f"1x4096x4096, {dataflow}, {size}x{size}",
            "cycles",
            cycles,
            scale_sim_cycles(gemm, size, size, dataflow),
            0,
        )
        for dataflow, size, cycles in runs
    ]


def zigzag_machine() -> tuple[ArrayConfig, MemoryConfig]:
    """The machine on which ZigZag and AccelForge were run; they run its int8 baseline."""
    return ArrayConfig(name="reference-32x32", rows=32, cols=32, token_tile=256), _ideal_memory(
        _ZIGZAG_MEMORY_BYTES_PER_S
    )


def _zigzag_and_accelforge() -> list[Agreement]:
    ternary, memory = zigzag_machine()
    dense = ternary.baseline("int8")
    projection = Gemm(1, 4096, 4096)
    decode_q = gemm_cost(GemmJob(projection), dense, memory).cycles
    ternary_q = gemm_cost(GemmJob(projection), ternary, memory).cycles
    prefill_q = gemm_cost(GemmJob(Gemm(512, 4096, 4096)), dense, memory).cycles
    result = simulate(load_shape("llama2-7b"), dense, memory, 512, 1, formats=Formats(kv_bits=8))
    step_s = result.seconds(result.phase("decode"))
    return [
        Agreement("ZigZag 3.9.1", "decode q_proj", "cycles", 525_442, decode_q, 0.03),
        Agreement("ZigZag 3.9.1", "prefill q_proj, 512 tokens", "cycles", 8_515_617, prefill_q, 0.03),
        Agreement("ZigZag 3.9.1", "decode step, whole model", "ms", 211, step_s * 1e3, 0.03),
        Agreement("AccelForge 1.0.467", "decode q_proj", "us", 524.5, decode_q / 1e3, 0.03),
        Agreement("AccelForge 1.0.467", "decode q_proj, 2-bit weights", "us", 131, ternary_q / 1e3, 0.03),
        Agreement("AccelForge 1.0.467", "prefill linears, 512 tokens", "s", 3.25, _linear_s(result, "prefill"), 0.03),
        Agreement("AccelForge 1.0.467", "decode linears", "ms", 206, _linear_s(result, "decode") * 1e3, 0.03),
    ]


def _dram() -> list[Agreement]:
    figures = [("Ramulator2", "ddr4-2400", 0.63), ("DRAMsim3", "ddr4-3200", 0.66)]
    # read share, writes in the banks that are read, writes in banks of their own
    mixes = [(0.5, 0.4322, 0.5289), (0.75, 0.5831, 0.5872), (0.9, 0.6266, 0.6293)]
    dram = load_memory("ddr4-3200").dram
    sequential = [
        Agreement(
            tool,
            f"sequential reads, {name}",
            "share of peak",
            published,
            load_memory(name).dram.sequential().efficiency,
            0.05,
        )
        for tool, name, published in figures
    ]
    mixed = [
        Agreement(
            "DRAMsim3",
            f"{share:.0%} reads, ddr4-3200, {'same' if shared else 'other'} banks",
            "share of peak",
            published,
            dram.mixed(share, run=1, shared_banks=shared).efficiency,
            0.03,
        )
        for share, in_shared, apart in mixes
        for shared, published in ((True, in_shared), (False, apart))
    ]
    return sequential + mixed


def _vitallm() -> list[Agreement]:
    array = ArrayConfig(
        name="vitallm-16x16",
        rows=16,
        cols=16,
        weight_bus_bits=512,
        token_tile=64,
        activation_buffer_bytes=60 * 1024,
        weight_buffer_bytes=60 * 1024,
        vector_lanes=64,
    )
    memory = _ideal_memory(_VITALLM_MEMORY_BYTES_PER_S)
    result = simulate(load_shape("bitnet_b1_58-3B"), array, memory, 64, 128, formats=Formats(kv_bits=8))
    decode = result.phase("decode")
    prefill_s, tokens_per_s = result.seconds(result.phase("prefill")), decode.tokens / result.seconds(decode)
    return [
        Agreement("VitaLLM", "prefill, 64 tokens", "s", 0.88, prefill_s, 0.10),
        Agreement("VitaLLM", "decode after 64 tokens", "tokens/s", 70.7, tokens_per_s, 0.10),
    ]


def _linear_s(result: SimResult, phase: str) -> float:
    """Seconds of the decoder linears of a phase."""
    cycles = sum(op.cycles for op in result.phase(phase).ops if op.name in LINEAR_KINDS)
    return cycles / result.array.clock_hz


def _ideal_memory(bytes_per_s: float) -> MemoryConfig:
    """A memory that delivers ``bytes_per_s`` from the first cycle on."""
    return MemoryConfig(
        name="ideal",
        source="the reference's stated bandwidth",
        standard="LPDDR5",
        channels=1,
        peak_bytes_per_s=bytes_per_s,
        sequential_efficiency=1.0,
        efficiency_source="the references model no loss",
        latency_s=0.0,
    )
