"""Generated tables of docs/energy.md: what the cost files come to."""

from energy.costs.dram import chip_count, dram_energy, dram_power, load_dram
from energy.costs.fpga import fpga_names, load_fpga
from energy.costs.gates import gate_names, load_gates
from energy.costs.placed import placed_shares
from energy.costs.sources import load_source, source_names
from energy.costs.tables import ZERO, Cost, Share, load_sram
from energy.costs.vector import OPERATIONS, block_rows
from energy.reports.rows import percent
from hw.config import load_array
from hw.pages import markdown_table
from sim.counts import ActionCounts
from sim.memory import load_memory, memory_names

__all__ = ["ENERGY_TABLES"]


def _dram() -> str:
    """Every shipped memory: a bit, rest and refresh of all chips, and a full stream beside what others publish."""
    rows = []
    for name in memory_names():
        memory = load_memory(name)
        power, chips = dram_power(memory.standard), chip_count(memory)
        standard = load_dram().standard(memory.standard)
        bits = 8 * memory.bytes_per_s
        stream = sum(dram_energy(memory, ActionCounts(dram_read_bits=bits), 1.0).values(), ZERO).scaled(1 / bits)
        rows.append(
            [
                name,
                str(chips),
                _range(power.read_bit, 1e12),
                _range(power.write_bit, 1e12),
                _range(power.open_w.scaled(chips), 1e3),
                _range(power.idle_w.scaled(chips), 1e3),
                _range(power.refresh_w.scaled(chips), 1e3),
                _range(stream, 1e12),
                "; ".join(f"{total.pj_per_bit:g} ({total.what})" for total in standard.totals),
                standard.kind,
            ]
        )
    header = ["memory", "chips", "bit read, pJ", "bit written, pJ", "rows open, mW", "no traffic, mW", "refresh, mW"]
    return markdown_table([*header, "full stream, pJ per bit", "others' totals, pJ per bit", "kind"], rows)


def _range(cost: Cost, scale: float) -> str:
    """Typical (low to high), two digits."""
    low, typical, high = (f"{value * scale:.3g}" for value in cost)
    return f"{typical} ({low} to {high})"


def _sram() -> str:
    """The bank of every cell type as each node's costs take it."""
    rows = []
    for name in source_names():
        choice = load_source(name).sram
        for cell, table_name in choice.tables.items():
            table = load_sram(table_name)
            bank = table.points[0]
            rows.append(
                [
                    name,
                    cell,
                    f"{bank.cycle_ns * choice.cycle_factor:.3g}",
                    f"{bank.read_pj * choice.factor / table.word_bits * 1e3:.3g}",
                    f"{bank.write_pj * choice.factor / table.word_bits * 1e3:.3g}",
                    f"{bank.leakage_mw * choice.leakage_factor:.3g}",
                    f"{table.hot_leakage.value:g}",
                ]
            )
    header = ["costs", "cells", "cycle, ns", "bit read, fJ", "bit written, fJ", "leakage, mW", "hot chip, times"]
    return markdown_table(header, rows)


def _vector() -> str:
    """Blocks of the vector unit in the libraries that were measured."""
    measured = {name: found for name in gate_names() if (found := block_rows(name)) is not None}
    rows: list[list[str]] = []
    for block in next(iter(measured.values())):
        kinds = [kind for kind, work in OPERATIONS.items() if block in work.blocks]
        cells = [f"`{block}`", ", ".join(f"{kind}, {OPERATIONS[kind].operations}" for kind in kinds)]
        for library in measured.values():
            row = library[block]
            cells += [f"{row.area_um2:.3g}", f"{row.critical_s * 1e9:.2f}"]
            cells.append(f"{row.filled_j * 1e12:.3g} ({row.sized_j * 1e12:.3g})")
        rows.append(cells)
    header = ["block", "work, operations of an element"]
    header += [f"{name}: {what}" for name in measured for what in ("um2", "period, ns", "pJ filled (sized)")]
    return markdown_table(header, rows)


def _placed() -> str:
    """Wires and clock distribution of every library, with the clock network's share of an array's dynamic energy."""
    rows = []
    for name in gate_names():
        source = load_gates(name)
        for mac in (None, "int8", "fp16"):
            array = load_array("mobile-64x64")
            array = array.baseline(mac) if mac else array
            shares, pins, rest = placed_shares(name, array.arithmetic), *source.mac_parts(array)
            network = pins * (1 + shares.clock.typical)
            whole = network + rest * (1 + shares.wires.typical)
            rows.append(
                [
                    name,
                    array.mac,
                    _range(shares.wires, 100),
                    _range(shares.clock, 100),
                    percent(network / whole),
                    percent(rest * shares.wires.typical / whole),
                ]
            )
    header = ["library", "array", "wires, % of logic and registers", "clock distribution, % of clock pins"]
    header += ["clock network in all dynamic", "wires in all dynamic"]
    return markdown_table(header, rows)


def _fpga() -> str:
    """Elements of every family, and what a lane takes of them."""
    rows = []
    for name in fpga_names():
        source = load_fpga(name)
        table, lane = source.table, source.lane(load_array("mobile-64x64"))
        rows.append(
            [
                f"`fpga:{name}`",
                *(_share(one) for one in (table.table_fj, table.flip_flop_fj, table.dsp_pj)),
                f"{load_sram(table.block_ram).points[0].read_pj:g}",
                "; ".join(f"{part} {one.static_w.typical:g} W" for part, one in table.parts.items()),
                _share(table.clock_hz, 1e-6),
                f"{_range(lane.tables, 1)} LUT{table.inputs}, {_range(lane.flip_flops, 1)} flip-flops",
                _range(source.energy(lane), 1e12),
            ]
        )
    header = ["costs", "table, fJ", "flip-flop, fJ", "DSP, pJ", "block RAM, pJ", "static power", "clock, MHz"]
    return markdown_table([*header, "a lane and its weight", "its MAC, pJ"], rows)


def _share(share: Share, scale: float = 1.0) -> str:
    return _range(share.ends, scale)


ENERGY_TABLES = {
    "fpga-elements": _fpga,
    "dram-energy": _dram,
    "sram-cells": _sram,
    "vector-blocks": _vector,
    "placed": _placed,
}
