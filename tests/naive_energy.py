"""Energy of counts as slow, obvious sums over the cost files: each part of a phase, low, typical and high, in J."""

import math
from functools import cache
from itertools import pairwise
from pathlib import Path

import yaml

TECH = Path(__file__).parents[1] / "energy" / "tech"
BITS_OF_A_TERM = {"ternary": 8, "int8": 16, "w4a8": 12, "w2a8": 10}  # what enters the adder tree
SHARE_OF_A_MULTIPLIER = {"ternary": 0, "int8": 1, "w4a8": 1 / 2, "w2a8": 1 / 4}


def naive_energy(result, phase, name: str) -> dict[str, tuple[float, float, float]]:
    """Part -> (low, typical, high) of ``phase``, of a ``SimResult``, with the operator table ``name``."""
    table, array, counts = _read(f"{name}.yaml"), result.array, phase.counts
    pj = {operator: entry["value"] for operator, entry in table["ops_pj"].items()}
    low, high = table["spread"]["low"], table["spread"]["high"]
    cores, seconds = result.cores.count, phase.cycles / array.clock_hz

    def ends(typical, times=1.0):
        return tuple(1e-12 * times * value for value in (typical * low, typical, typical * high))

    mac = _mac_pj(array, pj)
    added = pj["fp32_add"] if "16" in array.mac else _adder_pj(array.accumulator_bits, pj)
    own = pj["fp16_mul"] + pj["fp32_add"] if "16" in array.mac else pj["int8_mul"] + pj["int32_add"]
    element = (pj["fp16_add"] * low, pj["fp16_mul"], pj["fp32_mul"] * high)
    scale = (pj["fp16_mul"] * low, pj["fp32_mul"], pj["fp32_mul"] * high)
    host = _read("host/processor.yaml")
    instruction, link = _ends(host["operation_pj"]), _ends(host["link_pj_per_bit"])
    return {
        "array": _sum(ends(mac, counts.array_macs_active), ends(added, counts.reductions)),
        "vector": _sum(
            ends(own, counts.vector_macs),
            ends(pj["fp16_mul"] + pj["fp32_add"], counts.vector_float_macs),
            tuple(1e-12 * value * counts.vector_ops for value in element),
            tuple(1e-12 * value * counts.scale_multiplies for value in scale),
        ),
        "clock": (0.0, 0.0, 0.0),  # operators have neither registers nor a place
        "wires": (0.0, 0.0, 0.0),
        "host": _sum(
            tuple(1e-12 * value * (counts.host_macs + counts.host_ops) for value in instruction),
            tuple(1e-12 * value * counts.host_link_bits for value in link),
        ),
        "sram": _sram_j(array, counts, table["sram"], cores),
        **naive_dram(result.memory, counts, seconds),
        "leakage": _sum(
            tuple(seconds * value for value in _sram_leakage_w(array, cores, table["sram"])),
            tuple(
                seconds * share * mac * 1e-12 * array.rows * array.cols * array.clock_hz * cores
                for share in _ends(table["logic_leakage_share"])
            ),
        ),
    }


def naive_dram(memory, counts, seconds: float) -> dict[str, tuple[float, float, float]]:
    """Bits, rows, standby and refresh: each current times its supply, end by end."""
    table = _read("dram/standards.yaml")
    chip = table["standards"][memory.standard]
    times, moved = chip["times_ns"], counts.dram_read_bits + counts.dram_write_bits
    busy = (counts.dram_read_bits + memory.write_cost * counts.dram_write_bits) / 8 / memory.bytes_per_s
    busy = min(busy, seconds)
    chips = memory.channels * memory.dram.bursts_per_row * memory.burst_bytes // chip["row_bytes"]
    ends = {part: [] for part in ("dram", "dram_rows", "dram_standby", "dram_refresh")}
    for end in ("low", "typical", "high"):
        share = {name: entry[end] for name, entry in table["measured"].items()}
        if not chip["guard_banded"]:
            share = dict.fromkeys(share, table["spread"][end])
        watts = dict.fromkeys(("IDD0", "IDD2P", "IDD2N", "IDD3N", "IDD4R", "IDD4W", "IDD5"), 0.0)
        for supply in chip["supplies"]:
            for loop in watts:
                watts[loop] += supply["volts"] * supply[loop] / 1000
        rate, interface = float(chip["rate_bits_per_s"]), chip["interface"][end] * 1e-12
        read = share["read"] * (watts["IDD4R"] - watts["IDD3N"]) / rate + interface
        write = share["write"] * (watts["IDD4W"] - watts["IDD3N"]) / rate + interface
        ends["dram"].append(read * counts.dram_read_bits + write * counts.dram_write_bits)
        if "activate_nj" in chip:
            row = chip["activate_nj"][end] * 1e-9
        else:
            closed_ns = times["tRC"] - times["tRAS"]
            row_nj = watts["IDD0"] * times["tRC"] - watts["IDD3N"] * times["tRAS"] - watts["IDD2N"] * closed_ns
            row = share["activate"] * row_nj * 1e-9
        ends["dram_rows"].append(row * table["rows_opened"][end] * moved / 8 / chip["row_bytes"])
        closed = share["closed"] * watts["IDD2N"]
        opened = max(closed, share["standby"] * watts["IDD3N"])
        idle = {"low": share["power_down"] * watts["IDD2P"], "typical": closed, "high": opened}[end]
        ends["dram_standby"].append(chips * (busy * opened + (seconds - busy) * idle))
        refresh = share["refresh"] * (watts["IDD5"] - watts["IDD2N"]) * times["tRFC"] / times["tREFI"]
        ends["dram_refresh"].append(chips * seconds * refresh)
    return {part: tuple(values) for part, values in ends.items()}


@cache
def _read(name: str) -> dict:
    return yaml.safe_load((TECH / name).read_text())


def _ends(entry: dict) -> tuple[float, float, float]:
    return entry["low"], entry["typical"], entry["high"]


def _sum(*costs):
    return tuple(map(sum, zip(*costs, strict=True)))


def _adder_pj(bits: int, pj: dict[str, float]) -> float:
    """On the line through 8 and 32 bits."""
    slope = (pj["int32_add"] - pj["int8_add"]) / (32 - 8)
    return pj["int8_add"] + slope * (bits - 8)


def _mac_pj(array, pj: dict[str, float]) -> float:
    """A lane's product, and its share of the adders of its column."""
    if array.mac in ("fp16", "w4a16"):
        return pj["fp16_mul"] + pj["fp32_add"]
    product = SHARE_OF_A_MULTIPLIER[array.mac] * pj["int8_mul"]
    accumulator = _adder_pj(array.accumulator_bits, pj)
    if array.organisation == "systolic":
        return product + accumulator
    adders, width = 0.0, BITS_OF_A_TERM[array.mac]
    terms = [None] * array.rows
    while len(terms) > 1:
        pairs, alone = len(terms) // 2, len(terms) % 2
        width += 1
        for _ in range(pairs):
            adders += _adder_pj(width, pj)
        terms = [None] * (pairs + alone)
    return product + (adders + accumulator) / array.rows


def _cells(array, choice: dict) -> tuple[list[str], str]:
    """Cell types whose banks keep up with the clock, and the one of them that leaks least; the fastest if none does."""
    tables = {cell: _read(f"sram/{name}.yaml")["points"][0] for cell, name in choice["tables"].items()}
    fast = [c for c, bank in tables.items() if bank["cycle_ns"] * choice["cycle_factor"] <= 1e9 / array.clock_hz]
    if not fast:
        fast = [min(tables, key=lambda c: tables[c]["cycle_ns"])]
    return fast, min(fast, key=lambda c: tables[c]["leakage_mw"])


def _sram_j(array, counts, choice: dict, cores: int) -> tuple[float, float, float]:
    fast, chosen = _cells(array, choice)
    typical = _read(f"sram/{choice['tables'][chosen]}.yaml")
    bank_kib = typical["points"][0]["kib"]
    accumulators = cores * array.token_tile * array.cols * array.accumulator_bits / 8
    if array.organisation != "tree":
        accumulators = 0.0  # registers, which no access is counted of
    total = [0.0, 0.0, 0.0]
    for buffer, capacity in (
        ("weight_buffer", array.weight_buffer_bytes),
        ("activation_buffer", array.activation_buffer_bytes),
        ("accumulator", accumulators),
    ):
        for direction in ("read", "write"):
            bits = getattr(counts, f"{buffer}_{direction}_bits") * choice["factor"]
            if not capacity:
                continue
            kib = capacity / 1024
            field, banked = f"{direction}_pj", min(kib, bank_kib)
            tables = [_read(f"sram/{choice['tables'][cell]}.yaml") for cell in fast]
            pj = _access_pj(typical, field, banked)
            least = min(_access_pj(table, field, banked) for table in tables)
            whole = max(pj, _access_pj(typical, field, kib))
            for end, value in enumerate((least, pj, whole)):
                total[end] += bits * value / typical["word_bits"] * 1e-12
    return tuple(total)


def _access_pj(table: dict, field: str, kib: float) -> float:
    """Straight lines between the points on paper of two logarithmic scales; the outer ones go on beyond the ends."""
    points = [(math.log(point["kib"]), math.log(point[field])) for point in table["points"]]
    left, right = points[0], points[1]
    for a, b in pairwise(points):
        if math.log(kib) > a[0]:
            left, right = a, b
    slope = (right[1] - left[1]) / (right[0] - left[0])
    return math.exp(left[1] + slope * (math.log(kib) - left[0]))


def _sram_leakage_w(array, cores: int, choice: dict) -> tuple[float, float, float]:
    capacity = array.weight_buffer_bytes + array.activation_buffer_bytes
    if array.organisation == "tree":  # a grid's sums are registers
        capacity += cores * array.token_tile * array.cols * array.accumulator_bits / 8
    fast, chosen = _cells(array, choice)
    watts = {}
    for cell in fast:
        table = _read(f"sram/{choice['tables'][cell]}.yaml")
        smallest = table["points"][0]
        watts[cell] = capacity / 1024 * smallest["leakage_mw"] / smallest["kib"] * 1e-3 * choice["leakage_factor"]
    hot = _read(f"sram/{choice['tables'][chosen]}.yaml")["hot_leakage"]["value"]
    return min(watts.values()), watts[chosen], watts[chosen] * hot
