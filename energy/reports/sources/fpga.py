"""Published FPGA designs beside ours: their resources through our figures, and our machine beside theirs."""

import json
from pathlib import Path

from energy.costs.fpga import Elements, load_fpga
from energy.costs.tables import Cost, load_sram
from energy.job import Job, Rivals, simulate_machines
from energy.luts import luts_of
from hw.artifact import write_text
from hw.config import load_array
from hw.pages import markdown_table
from quant.shapes import load_shape

__all__ = ["DESIGNS", "ends_text", "fpga_table", "measure_fpga", "published_power"]

# Power and resources as published; block RAM in the family's units, an UltraRAM as eight of these.
DESIGNS: list[dict] = [
    {
        "design": "VexRiscv system of CFU Playground, Artix XC7A35T",
        "family": "7series", "part": None, "clock_hz": 100e6,
        "tables": 4311, "flip_flops": 6608, "dsps": 0, "block_rams": 5.5,
        "watts": 0.068, "what": "Vivado, dynamic without I/O; the low end of tables and flip-flops rests on it",
    },
    {
        "design": "regular-expression matcher, Alveo U50",
        "family": "ultrascale+", "part": None, "clock_hz": 180e6,
        "tables": 488068, "flip_flops": 665852, "dsps": 4, "block_rams": 412.5,
        "watts": 9.02, "what": "Vivado, clocks, logic, signals, block RAM; the typical figures rest on it",
    },
    {
        "design": "Hummingbird, LLaMA3-8B in 4 bits, ZCU104 (arXiv 2507.03308)",
        "family": "ultrascale+", "part": "XCZU7EV", "clock_hz": 266e6,
        "tables": 66000, "flip_flops": 92000, "dsps": 362, "block_rams": 133 + 8 * 40,
        "watts": 7.09, "what": "Vivado, whole chip with processors and DDR controller, which ours has not",
    },
]  # fmt: skip
_MODELS: list[dict] = [
    {"design": "TeLLMe v2, BitNet 0.73B, KV260 (arXiv 2510.15926)", "watts": 5.0, "decode_tokens_per_s": 25.0},
    {"design": "PD-Swap, BitNet 0.73B, KV260 (arXiv 2512.11550)", "watts": 4.9, "decode_tokens_per_s": 27.8},
]
_FAMILY, _ARRAY, _MEMORY = "ultrascale+", "32x32", "ddr4-2400"
_SMALL = {  # 1bitLLM/bitnet_b1_58-large, config.json
    "name": "bitnet_b1_58-large", "hidden_size": 1536, "intermediate_size": 4096, "layers": 24, "heads": 16,
    "kv_heads": 16, "head_dim": 96, "vocab_size": 32002,
}  # fmt: skip


def published_power(design: dict) -> Cost:
    """What the published resources take with our figures, all active, W."""
    source = load_fpga(design["family"])
    counts = (Cost.exact(design[name]) for name in ("tables", "flip_flops", "dsps"))
    ram, spread = load_sram(source.table.block_ram), source.table.block_ram_spread
    access_w = ram.points[0].read_pj * 1e-12 * design["block_rams"] * design["clock_hz"]
    rams = spread.ends.scaled(access_w)
    active = source.energy(Elements(*counts)).scaled(design["clock_hz"]) + rams
    if design["part"] is None:
        return active
    static = source.table.parts[design["part"]].static_w
    return active + static.ends


def measure_fpga(path: Path) -> None:
    """Run the published designs' model on our machine, and write it beside what was published."""
    shape = load_shape("bitnet_b1_58-3B").model_copy(update=_SMALL)
    job = Job(
        model="bitnet_b1_58-3B", array=_ARRAY, memory=_MEMORY, prefill=128, decode=128, kv_bits=8,
        costs=f"fpga:{_FAMILY}", attention="vector",
    )  # fmt: skip
    summary, _ = simulate_machines(job, shape, rivals=Rivals(rivals="int8"))
    machine, decode = summary.ternary, summary.ternary.phase("decode")
    luts = luts_of(load_fpga(_FAMILY).clocked(load_array(_ARRAY)), _FAMILY)
    ours = {
        "array": _ARRAY,
        "memory": _MEMORY,
        "part": luts.part,
        "clock_hz": summary.clock_hz,
        "tables": luts.total("tables").typical,
        "prefill_s": machine.phase("prefill").seconds,
        "decode_tokens_per_s": decode.tokens_per_s,
        "decode_j_per_token": list(decode.total_j_per_token),
        "watts": [end * decode.tokens_per_s for end in decode.total_j_per_token],
    }
    write_text(path, json.dumps({"model": _SMALL["name"], "ours": ours}, indent=1) + "\n")


def fpga_table(path: Path) -> str:
    """Published power beside ours; then tokens of one model per second and joule."""
    rows = [
        [one["design"], f"{one['watts']:g}", ends_text(published_power(one)), "", "", one["what"]] for one in DESIGNS
    ]
    document = json.loads(path.read_text(encoding="utf-8"))
    ours = document["ours"]
    for one in _MODELS:
        joules = one["watts"] / one["decode_tokens_per_s"]
        rows.append(
            [one["design"], f"{one['watts']:g}", "", f"{one['decode_tokens_per_s']:g}", f"{joules * 1e3:.0f}",
             "their board; how power was found is not said"]
        )  # fmt: skip
    rows.append(
        [
            f"this project, {document['model']}, {ours['array']} at {ours['clock_hz'] / 1e6:.0f} MHz, {ours['memory']}",
            "",
            ends_text(Cost(*ours["watts"])),
            f"{ours['decode_tokens_per_s']:.3g}",
            ends_text(Cost(*ours["decode_j_per_token"]).scaled(1e3)),
            f"simulated, with DRAM, without processors; {ours['tables'] / 1000:.0f} k tables ({ours['part']})",
        ]
    )
    header = [
        "design",
        "published, W",
        "with our figures, W",
        "decode tokens/s",
        "mJ per token",
        "what the figures hold",
    ]
    return markdown_table(header, rows)


def ends_text(cost: Cost) -> str:
    """The typical value with its range."""
    low, typical, high = (f"{value:.3g}" for value in cost)
    return f"{typical} ({low} to {high})"
