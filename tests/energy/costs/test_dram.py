"""DRAM: what a full stream takes per bit beside what others publish, and how idle time and busy time differ."""

import pytest

from energy.costs.dram import DRAM_PARTS, chip_count, dram_energy, dram_power, load_dram
from energy.costs.tables import ZERO
from sim.counts import ActionCounts
from sim.memory import load_memory, memory_names

SECOND = 1.0


def full_stream(memory):
    """Reads for a second at the sustained bandwidth, J per bit, everything in."""
    bits = 8 * memory.bytes_per_s
    return sum(dram_energy(memory, ActionCounts(dram_read_bits=bits), SECOND).values(), ZERO).scaled(1 / bits)


@pytest.mark.parametrize("name", memory_names())
def test_a_full_streams_range_holds_a_published_total_or_there_is_none(name):
    """Totals of other tools contain I/O or not, maxima or not; at least one of each standard lies within the range."""
    memory = load_memory(name)
    totals = [total.pj_per_bit * 1e-12 for total in load_dram().standard(memory.standard).totals]
    found = full_stream(memory)
    assert not totals or any(found.low <= total <= found.high for total in totals), (found, totals)


def test_ddr4_without_interface_is_near_dramsim3s_power_model():
    """DRAMsim3's DDR4_8Gb_x8_2400 has the same currents: maxima, no VPP, no I/O: 7.3 pJ per bit of a full stream."""
    read = 1.2 * (135 - 43) / 19.2  # mA V per Gb/s
    standby = 1.2 * 43 / 19.2
    power = dram_power("DDR4")
    interface = load_dram().standard("DDR4").interface.high * 1e-12
    assert power.read_bit.high - interface == pytest.approx(read * 1e-12, rel=1e-9)
    assert power.open_w.high == pytest.approx((standby * 19.2 + 2.5 * 3) * 1e-3, rel=1e-9)


def test_a_rest_costs_standby_and_refresh_alone_and_the_low_end_is_powered_down(close):
    memory = load_memory("lpddr5-6400")
    parts = dram_energy(memory, ActionCounts(), SECOND)
    assert set(parts) == set(DRAM_PARTS)
    assert parts["dram"] == parts["dram_rows"] == ZERO
    power = dram_power("LPDDR5")
    assert parts["dram_standby"] == close(power.idle_w.scaled(4))
    assert parts["dram_refresh"] == close(power.refresh_w.scaled(4))
    assert power.idle_w.low < power.idle_w.typical / 5  # powered down


def test_open_rows_take_no_less_than_closed_ones():
    for standard in load_dram().standards:
        power = dram_power(standard)
        assert all(opened >= idle for opened, idle in zip(power.open_w, power.idle_w, strict=True))


@pytest.mark.parametrize(
    ("name", "chips"),
    [("lpddr5-6400", 4), ("lpddr4x-4266", 4), ("ddr4-3200", 8), ("ddr5-4800", 8), ("hbm2-2000", 8), ("hbm3-6400", 16)],
)
def test_chips_share_a_channels_row(name, chips):
    """A DDR4 channel of 64 bits has eight x8 chips, a DDR5 channel of 32 bits four; HBM counts channels."""
    assert chip_count(load_memory(name)) == chips
