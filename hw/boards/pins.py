"""Pins of a board, read from amaranth-boards where it knows the board, and written as constraints."""

from importlib import import_module
from typing import NamedTuple

from amaranth.build import Pins, Platform, Resource, Subsignal

from hw.boards.catalog import Board, Pin
from hw.synthesis.families import FAMILIES

__all__ = ["Site", "constraints", "sites"]

_ARRAY_CLOCK = "clock.clk"  # the net of an array's clock in the flattened top level


class Site(NamedTuple):
    """Where a port of the top level leaves the part."""

    name: str
    attributes: dict[str, str]
    inverted: bool  # low means active


def sites(board: Board) -> dict[str, Site]:
    """The site of each port of the top level."""
    platform = None
    if board.platform:
        module, name = board.platform.split(":")
        platform = getattr(import_module(f"amaranth_boards.{module}"), name)()
        resource = platform.lookup(platform.default_clk)
        if resource.clock.frequency != board.board_hz:
            raise ValueError(f"{board.name}: amaranth-boards says {resource.clock.frequency} Hz, not {board.board_hz}")
    return {port: _site(where, platform) for port, where in board.ports.items()}


def _site(where: str | Pin, platform: Platform | None) -> Site:
    """One entry of ``Board.ports``."""
    if isinstance(where, Pin):
        return Site(where.site, dict(where.attributes), where.inverted)
    if ":" in where:
        connector, pin = where.split(":")
        name, number = connector.split("/")
        found = platform.connectors[name, int(number)]
        attributes = {key: str(value) for key, value in platform.lookup(platform.default_clk).attrs.items()}
        return Site(found.mapping[pin], _only_levels(attributes), False)
    name, _, part = where.partition(".")
    resource: Resource = platform.lookup(name)
    pins, attributes = _find(resource, part)
    return Site(pins.names[0], {key: str(value) for key, value in attributes.items()}, pins.invert)


def _find(resource: Resource, part: str) -> tuple[Pins, dict]:
    """The pins of a resource or of one of its subsignals, and the attributes that hold for them."""
    if not part:
        return resource.ios[0], dict(resource.attrs)
    signal: Subsignal = next(io for io in resource.ios if io.name == part)
    return signal.ios[0], {**resource.attrs, **signal.attrs}


def _only_levels(attributes: dict[str, str]) -> dict[str, str]:
    """The voltage standard alone: a connector's pin takes the one of the bank's clock."""
    return {key: value for key, value in attributes.items() if key in ("IO_TYPE", "IOSTANDARD", "IO_STANDARD")}


def constraints(board: Board, found: dict[str, Site]) -> str:
    """Pins and the board's clock in the language of the family's tool."""
    family = FAMILIES[board.family]
    language = family.constraints.rpartition(".")[2]
    comment = "//" if language == "cst" else "#"
    lines = [f"{comment} Pins and clock of {board.name} ({board.part}). Source: {board.source}."]
    if board.note:
        lines.append(f"{comment} {board.note}.")
    lines += _LANGUAGES[language](board, found)
    lines += family.settings
    return "\n".join(lines) + "\n"


def _lpf(board: Board, found: dict[str, Site]) -> list[str]:
    lines = ["BLOCK ASYNCPATHS;", "BLOCK RESETPATHS;"]
    for port, site in found.items():
        settings = "".join(f" {key}={value}" for key, value in site.attributes.items())
        lines += [f'LOCATE COMP "{port}" SITE "{site.name}";', f'IOBUF PORT "{port}"{settings};']
    lines.append(f'FREQUENCY PORT "clk" {board.board_hz / 1e6:g} MHZ;')
    return [*lines, f'FREQUENCY NET "{_ARRAY_CLOCK}" {board.asked_hz / 1e6:g} MHZ;'] if board.asked_hz else lines


def _pcf(board: Board, found: dict[str, Site]) -> list[str]:
    pull = {port: " -pullup yes" for port, site in found.items() if site.attributes.get("PULLUP") == "1"}
    lines = [f"set_io{pull.get(port, '')} {port} {site.name}" for port, site in found.items()]
    return [*lines, f"set_frequency clk {board.board_hz / 1e6:g}"]


def _cst(board: Board, found: dict[str, Site]) -> list[str]:
    lines = []
    for port, site in found.items():
        settings = "".join(f" {key}={value}" for key, value in site.attributes.items())
        lines += [f'IO_LOC "{port}" {site.name};', f'IO_PORT "{port}"{settings};']
    return lines


def _xdc(board: Board, found: dict[str, Site]) -> list[str]:
    lines = []
    for port, site in found.items():
        lines.append(f"set_property PACKAGE_PIN {site.name} [get_ports {port}]")
        lines += [f"set_property {key} {value} [get_ports {port}]" for key, value in site.attributes.items()]
    if "clk" in found:
        lines.append(f"create_clock -name clk -period {1e9 / board.board_hz:g} [get_ports clk]")
    return lines


_LANGUAGES = {"lpf": _lpf, "pcf": _pcf, "cst": _cst, "xdc": _xdc}  # by the ending of a family's constraints
