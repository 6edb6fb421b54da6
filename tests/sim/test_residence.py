"""A model that does not fit its memory is refused with the numbers and what would hold it; presets have a capacity."""

import pytest

from hw.config import load_array
from hw.errors import InputError
from quant.shapes import load_shape
from sim.execution import Execution
from sim.memory import MemoryConfig, load_memory, memory_names
from sim.residence import check_residence, stored_bytes
from sim.simulator import simulate
from sim.trace.build import build_trace
from sim.trace.ops import Formats

SHAPE, ARRAY = load_shape("stories260K"), load_array("8x8")
MEMORY = MemoryConfig(
    name="m", source="test", standard="DDR4", channels=3, peak_bytes_per_s=1e9, sequential_efficiency=1.0,
    efficiency_source="test", channel_bytes=40_000,
)  # fmt: skip


def test_what_a_run_keeps_by_hand():
    """Two-bit trits, int8 lm_head, 16-bit embedding, 16-bit K and V of 9 tokens in 2 sequences."""
    linears = 5 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 172 * 64)  # layers x (q, o; k, v; gate, up, down)
    cache = 2 * 5 * 4 * 8 * 9 * 2 * 16  # K and V, layers, heads, head, tokens, sequences, bits
    trace = build_trace(SHAPE, 5, 4, 2, Formats())
    assert stored_bytes(trace, ARRAY) == (2 * linears + 512 * 64 * (8 + 16) + cache) // 8
    without = [
        phase.model_copy(update={"ops": [op for op in phase.ops if op.kind != "attention"]}) for phase in trace.phases
    ]
    assert stored_bytes(trace.model_copy(update={"phases": without}), ARRAY) == (2 * linears + 512 * 64 * 24) // 8


def test_the_last_byte_that_fits_and_the_first_that_does_not():
    trace = build_trace(SHAPE, 5, 4, 2)
    needed = stored_bytes(trace, ARRAY)
    one = MEMORY.model_copy(update={"channels": 1, "channel_bytes": needed})
    assert check_residence(trace, ARRAY, one) == []
    assert check_residence(trace, ARRAY, MEMORY.model_copy(update={"channel_bytes": None})) == []
    with pytest.raises(
        InputError, match=r"must hold .* GiB .* not .* GiB \(one channel of .* GiB\); take channels 2 or "
    ):
        check_residence(trace, ARRAY, one.model_copy(update={"channel_bytes": needed - 1}))


def test_the_refusal_names_the_channels_and_the_smallest_memory_that_hold_it():
    """LLaMA-2-7B takes 2.02 GB: 61 chips of 32 MiB; of the shipped ones LPDDR4X has the least that is enough."""
    with pytest.raises(InputError) as refused:
        simulate(load_shape("llama2-7b"), load_array("mobile-64x64"), load_memory("sdr-143"))
    assert str(refused.value) == (
        "memory 'sdr-143' must hold 1.885 GiB for weights, embedding, lm_head and KV cache of 'llama2-7b' on array "
        "'mobile-64x64', not 0.03125 GiB (one channel of 0.03125 GiB); take channels 61 or memory lpddr4x-4266 "
        "(4 GiB), or beyond_capacity to simulate it all the same"
    )
    enough = load_memory("sdr-143", 61)
    assert simulate(load_shape("llama2-7b"), load_array("mobile-64x64"), enough, 4, 1).memory.name == "sdr-143 x61"


def test_beyond_capacity_changes_nothing_but_a_note():
    refused = MEMORY.model_copy(update={"channels": 1})
    known = simulate(SHAPE, ARRAY, refused.model_copy(update={"channel_bytes": None}), 5, 4)
    beyond = simulate(SHAPE, ARRAY, refused, 5, 4, execution=Execution(beyond_capacity=True))
    assert beyond.phases == known.phases
    assert beyond.notes[:-1] == known.notes
    assert "simulated as if its channels held more" in beyond.notes[-1]


def test_channels_multiply_bandwidth_and_capacity():
    card = load_memory("hbm2e-3200", 40)  # five stacks
    stack = load_memory("hbm2e-3200")
    assert (card.bytes_per_s, card.capacity_bytes) == (5 * stack.bytes_per_s, 80 * 2**30)
    assert card.name == "hbm2e-3200 x40"
    assert load_memory("hbm2e-3200", 8) == stack


@pytest.mark.parametrize("name", memory_names())
def test_every_preset_has_a_capacity_with_its_source(name):
    memory = load_memory(name)
    assert memory.capacity_bytes == memory.channels * memory.channel_bytes
    assert memory.channel_bytes & (memory.channel_bytes - 1) == 0
    assert memory.capacity_source


def test_rows_are_what_the_chips_of_a_preset_have():
    """Bytes of a row over all chips of a channel: 1 KiB of SDR x16, 2 KiB of the others' x16 chips."""
    rows = {name: load_memory(name) for name in ("sdr-100", "sdr-143", "ddr3-1600", "gddr6-14000", "lpddr5x-8533")}
    rows = {name: memory.burst_bytes * memory.dram.bursts_per_row for name, memory in rows.items()}
    assert rows == {"sdr-100": 1024, "sdr-143": 1024, "ddr3-1600": 2048, "gddr6-14000": 2048, "lpddr5x-8533": 2048}
