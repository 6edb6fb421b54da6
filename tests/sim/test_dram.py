"""Bandwidth of streams: the reference simulators' figures, and presets that say what their banks give."""

import numpy as np
import pytest
from pydantic import ValidationError

from sim.dram import DramChannel
from sim.kernels.bursts import BURST, Queues
from sim.kernels.dram import serve_bursts
from sim.memory import load_memory, memory_names

DDR4_3200 = load_memory("ddr4-3200").dram


def test_a_channel_that_only_refreshes_is_refused():
    with pytest.raises(ValidationError, match=r"tREFI must be longer than .*: \d+, not 500"):
        DramChannel(**DDR4_3200.model_dump() | {"tREFI": 500})


def test_sequential_reads_match_ramulator2_and_dramsim3():
    """63 % of peak: Ramulator2, DDR4-2400R, default map. 66 %: DRAMsim3, DDR4_8Gb_x8_3200, default map. Within 5 %."""
    assert load_memory("ddr4-2400").dram.sequential().efficiency == pytest.approx(0.63, rel=0.05)
    assert DDR4_3200.sequential().efficiency == pytest.approx(0.66, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "measured"),
    [
        ({}, 0.6639),
        ({"address_map": "row-bank-column-group"}, 0.9531),  # its map rochrabacobg
        ({"lookahead": 34}, 0.6396),  # cmd_queue_size 2, without refresh
        ({"lookahead": 48}, 0.7416),  # cmd_queue_size 16, without refresh
    ],
)
def test_sequential_reads_match_dramsim3_under_other_settings(changes, measured):
    """Reads of consecutive addresses, 400 000 clocks of DDR4_8Gb_x8_3200 with changed queues and maps."""
    channel = DDR4_3200.model_copy(update=changes)
    result = channel.sequential()
    ours = result.efficiency + (result.refresh_loss if "lookahead" in changes else 0)
    assert ours == pytest.approx(measured, rel=0.05)


def test_sequential_reads_match_dramsim3_on_its_hbm2():
    """HBM2_8Gb_x128, 8 channels, 400 000 clocks: 91.9 %; its times where they differ from the preset's."""
    changes = {"tCCD_L": 2, "bursts_per_row": 16, "tFAW": 30, "tRTP": 6, "tRFC": 260}
    hbm2 = load_memory("hbm2-2000").dram.model_copy(update=changes)
    assert hbm2.sequential().efficiency == pytest.approx(0.919, rel=0.05)


def test_ddr4_2400_under_the_queues_of_dramsim3():
    assert load_memory("ddr4-2400").dram.model_copy(update={"lookahead": 40}).sequential().efficiency == pytest.approx(
        0.7763, rel=0.05
    )


@pytest.mark.parametrize("name", memory_names())
def test_the_efficiency_of_a_preset_is_what_its_banks_give(name):
    memory = load_memory(name)
    tolerance = 0.001 if memory.efficiency_source.startswith("modelled") else 0.05 * memory.sequential_efficiency
    assert memory.dram.sequential().efficiency == pytest.approx(memory.sequential_efficiency, abs=tolerance)


@pytest.mark.parametrize("name", memory_names())
def test_the_write_cost_of_a_preset_is_what_its_banks_give(name):
    memory = load_memory(name)
    assert memory.dram.write_cost() == pytest.approx(memory.write_cost, abs=0.01)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_one_write_cost_serves_other_mixtures(share):
    """It is fitted at three reads per write; the time of other mixtures follows from it within 3 %."""
    for name in memory_names():
        dram = load_memory(name).dram
        reads = 1 / dram.sequential().efficiency
        expected = reads * (share + (1 - share) * dram.write_cost())
        assert 1 / dram.mixed(share).efficiency == pytest.approx(expected, rel=0.03)


def test_writes_in_the_banks_that_are_read_close_their_rows():
    shared, apart = (DDR4_3200.mixed(0.5, run=1, shared_banks=shared) for shared in (True, False))
    assert shared.row_hits < apart.row_hits
    assert shared.efficiency < 0.85 * apart.efficiency


@pytest.mark.parametrize("name", memory_names())
def test_peak_is_the_width_of_a_burst_over_its_clocks(name):
    """A channel of peak_bytes_per_s moves a whole number of bytes per burst, a power of two."""
    memory = load_memory(name)
    burst_bytes = memory.peak_bytes_per_s * memory.dram.burst * memory.dram.clock_ps * 1e-12
    assert np.log2(burst_bytes) == pytest.approx(round(np.log2(burst_bytes)), abs=0.01)


def test_losses_and_efficiency_sum_to_one_and_mixing_costs():
    sequential, mixed = DDR4_3200.sequential(), DDR4_3200.mixed(0.75)
    assert sequential.efficiency + sequential.bank_loss + sequential.refresh_loss == pytest.approx(1)
    assert mixed.efficiency < sequential.efficiency


def streamed(channel, count, share, run, shift):
    """(group, bank, row, write) of ``count`` bursts: runs of reads and of writes, each at addresses of its own."""
    bursts, reads, writes, read_runs = [], 0, 0, 0
    for number in range(count):
        at = number // run  # runs before this one
        if number % run == 0:
            write = int((at + 1) * share) == read_runs  # as many read runs as the share allows
            read_runs += not write
        place = writes if write else reads
        writes, reads = writes + write, reads + (not write)
        if channel.address_map == "row-bank-column-group":
            group, place = place % channel.bank_groups, place // channel.bank_groups
            row = place // channel.bursts_per_row
        else:
            row = place // channel.bursts_per_row
            group, row = row % channel.bank_groups, row // channel.bank_groups
        bank, row = row % channel.banks_per_group, row // channel.banks_per_group
        bank = (bank + (shift if write else 0)) % channel.banks_per_group
        bursts.append((group, group * channel.banks_per_group + bank, row + (1 << 20) * write, write))
    return bursts


@pytest.mark.parametrize("address_map", ["row-bank-group-column", "row-bank-column-group"])
@pytest.mark.parametrize(
    ("share", "run", "shared"), [(1.0, 1, False), (0.75, 64, False), (0.5, 3, True), (0.6, 5, False)]
)
def test_a_measured_stream_is_the_walked_one_with_and_without_refresh(address_map, share, run, shared):
    """Six refresh intervals of 900 clocks; then 20 000 bursts that are never refreshed."""
    channel = DDR4_3200.model_copy(update={"tREFI": 900, "address_map": address_map})
    result = channel.sequential() if share == 1 else channel.mixed(share, run, shared)
    shift = 0 if shared or share == 1 else channel.banks_per_group // 2
    found = {}
    for count, interval in ((6 * 900 // channel.burst, 900), (20_000, 0)):
        bursts = streamed(channel, count, share, run, shift)
        queues = Queues(channel.lookahead, channel.write_buffer)
        served = serve_bursts(np.array(bursts, BURST), queues, channel.timing._replace(tREFI=interval))
        clocks = max(served.issued) - min(served.issued) + channel.burst
        found[interval] = count * channel.burst / clocks, 1 - served.activates / count
    efficiency, hits = found[900]
    expected = efficiency, 1 - found[0][0], found[0][0] - efficiency, hits
    assert result == pytest.approx(expected, rel=1e-12)
