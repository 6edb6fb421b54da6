"""``tritforge options``: what each option of ``ArrayConfig`` adds to a core on ECP5, after synthesis."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.artifact import write_text
from hw.config import ArrayConfig
from hw.pages import markdown_table
from hw.progress import stage_bars

__all__ = ["VARIANTS", "add_options", "option_table"]

_RESULTS = Path("docs") / "results"
_FILE = "core-options.json"
_BASE = ArrayConfig(
    name="16x4", rows=16, cols=4, chain_lanes=4, adders_per_register=1, weight_bus_bits=64, token_tile=16
)
VARIANTS: dict[str, dict[str, object]] = {
    "none": {},
    "planes: 2": {"planes": 2},
    "planes: 4, digits: true": {"planes": 4, "digits": True},
    "planes: 5, digits: true": {"planes": 5, "digits": True},
    "lane_loading: true": {"lane_loading": True},
    "group_exponent_bits: 2": {"group_exponent_bits": 2},
    "sum_of_x: true": {"sum_of_x": True},
    "results: int8": {"results": "int8"},
    "results: int8, sum_of_x: true": {"results": "int8", "sum_of_x": True},
    "all": {"planes": 2, "group_exponent_bits": 2, "results": "int8", "sum_of_x": True},
}


def add_options(parser: ArgumentParser) -> None:
    """Options of ``options``."""
    parser.add_argument(
        "--out", type=Path, default=_RESULTS, metavar="FOLDER", help=f"folder of {_FILE} (default: {_RESULTS})"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=_options)


def _options(options: Namespace) -> None:
    """Synthesize a core per variant and write what it takes."""
    from hw.gateware.core import Core  # Amaranth is imported only by the command that elaborates
    from hw.synthesis.resources import synthesize

    found = {}
    with stage_bars() as report:
        for number, (name, fields) in enumerate(VARIANTS.items()):
            report("cores", number, len(VARIANTS))
            config = ArrayConfig(**_BASE.model_dump() | fields)
            cells = synthesize(Core(config, "ecp5"))
            found[name] = {"tables": cells.tables, "flip_flops": cells.flip_flops, "dsps": cells.dsps}
            found[name]["latency"] = config.pipeline_latency
    array = _BASE.model_dump(include={"rows", "cols", "accumulator_bits"})
    text = json.dumps({"array": array, "cores": found}, indent=1)
    write_text(options.out / _FILE, text + "\n")
    print(text if options.json else option_table(options.out))


def option_table(folder: Path) -> str:
    """Markdown table of the measured cores: the plain one, and what each other adds to it."""
    cores = json.loads((folder / _FILE).read_text(encoding="utf-8"))["cores"]
    plain = cores["none"]
    rows = [["none", *(str(plain[name]) for name in plain)]]
    for variant in (name for name in cores if name != "none"):
        rows.append([f"`{variant}`", *(f"{cores[variant][name] - plain[name]:+}" for name in plain)])
    return markdown_table(["option", "LUT4-equivalents", "flip-flops", "multipliers (DSP)", "latency"], rows)
