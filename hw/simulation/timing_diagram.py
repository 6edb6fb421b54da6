"""The timing diagram of docs/architecture.md, drawn as SVG from the simulation of one GEMM, edge by edge."""

import numpy as np

from hw.config import ArrayConfig
from hw.golden import tiles
from hw.job import CoreJob
from hw.simulation.waveform import Edge, play

__all__ = ["example", "timing_svg"]

_EDGE, _ROW, _LEFT, _TOP = 26, 24, 150, 40  # pixels: width of an edge, height of a row, margins
_TILE_COLOURS = ("#9ecae1", "#fdd0a2", "#a1d99b", "#dadaeb", "#fcbba1", "#d9d9d9")
_CAUSE_COLOURS = {
    "ideal": "#74c476",
    "fill_drain": "#bdbdbd",
    "weight_stall": "#fb6a4a",
    "input_stall": "#fdae6b",
    "output_stall": "#9e9ac8",
}


def example() -> tuple[ArrayConfig, CoreJob, tuple[str, str, str]]:
    """3 tokens, 8 outputs, 6 inputs on 4 x 4 lanes: two folds of two column tiles, an idle edge, refused results."""
    config = ArrayConfig(name="4x4", rows=4, cols=4, chain_lanes=2, weight_bus_bits=8, token_tile=4)
    rng = np.random.default_rng(0)
    q = rng.integers(-127, 128, (3, 6), dtype=np.int8)
    return config, CoreJob(q, rng.integers(-1, 2, (1, 8, 6), dtype=np.int8)), ("", "1" * 11 + "0", "1" * 17 + "00")


def timing_svg() -> str:
    """The diagram of ``example``; its edges come from the simulation, the registers between them from the config."""
    config, job, offers = example()
    edges = play(config, job, offers)
    grid = tiles(*job.sizes, config.token_tile, config.cols, config.rows)
    tile_of = [number for number, (tokens, _, _) in enumerate(grid) for _ in range(tokens.start, tokens.stop)]
    token_of = [token for tokens, _, _ in grid for token in range(tokens.start, tokens.stop)]
    last_folds = [number for number, (_, _, fold) in enumerate(grid) if fold.stop == job.sizes[2]]
    picture = _Picture(len(edges))
    picture.row("weights", [_word(edge, config) for edge in edges])
    picture.row("shadow tile full", _held(edges, config))
    picture.row("swap", [("▲", "#ffffff", "") if edge.swap else None for edge in edges])
    active, current = [], -1
    for edge in edges:
        active.append((f"tile {current}", _colour(current), "bar") if edge.active else None)
        current += edge.swap
    picture.row("active tile", active)
    issued = [edge.vector for edge in edges]
    spread = (f"vector register {i + 2}" for i in range(config.spread_stages))
    columns = (f"column, register {i + 1}" for i in range(config.column_stages))
    for delay, name in enumerate(["activations", "vector register", *spread, *columns, "accumulator"]):
        shifted = [None] * delay + issued[: len(issued) - delay]
        picture.row(name, [None if v is None else (f"x{token_of[v]}", _colour(tile_of[v]), "") for v in shifted])
    picture.row("results", _beats(edges, last_folds, job.sizes[0]))
    picture.row("counted as", [(_short(edge.cause), _CAUSE_COLOURS[edge.cause], "") for edge in edges])
    m, n, k = job.sizes
    title = f"{m} x {n} x {k} on an array of {config.rows} x {config.cols}, edge by edge"
    return picture.text(title, {edge.cause for edge in edges})


def _colour(tile: int) -> str:
    return _TILE_COLOURS[tile % len(_TILE_COLOURS)]


def _short(cause: str) -> str:
    return {"ideal": "", "fill_drain": "f", "weight_stall": "w", "input_stall": "i", "output_stall": "o"}[cause]


def _word(edge: Edge, config: ArrayConfig) -> tuple[str, str, str] | None:
    """A weight word: its tile's colour and its number in the tile; hollow while it waits."""
    if edge.weight is None:
        return ("", "#ffffff", "waits") if edge.weight_waits else None
    return f"w{edge.weight % config.weight_beats}", _colour(edge.weight // config.weight_beats), ""


def _held(edges: list[Edge], config: ArrayConfig) -> list[tuple[str, str, str] | None]:
    """The shadow while it is full: the tile whose last word came before."""
    cells, words = [], 0
    for edge in edges:
        tile = words // config.weight_beats - 1
        cells.append((f"tile {tile}", _colour(tile), "bar") if edge.shadow_full else None)
        words += edge.weight is not None
    return cells


def _beats(edges: list[Edge], last_folds: list[int], tokens: int) -> list[tuple[str, str, str] | None]:
    """Result beats: each its token, in the colour of the tile that completed it; hollow while it is refused."""
    cells, number = [], 0
    for edge in edges:
        colour = "#ffffff" if edge.result_waits else _colour(last_folds[number // tokens])
        there = edge.result_waits or edge.result is not None
        cells.append((f"y{number % tokens}", colour, "waits" if edge.result_waits else "") if there else None)
        number += edge.result is not None
    return cells


class _Picture:
    """Rows of cells over edges 1, 2, ...; neighbouring bars of one text are one box."""

    def __init__(self, edges: int):
        self.edges, self.rows, self._parts = edges, 0, []

    def row(self, name: str, cells: list[tuple[str, str, str] | None]) -> None:
        """A row of ``(text, colour, kind)``: kind "bar" joins with its equal neighbours, "waits" is dashed."""
        top = _TOP + self.rows * _ROW
        self.rows += 1
        self._parts.append(f'<text x="{_LEFT - 8}" y="{top + 16}" text-anchor="end">{name}</text>')
        first = 0
        while first < len(cells):
            last = first
            bar = cells[first] is not None and cells[first][2] == "bar"
            while bar and last + 1 < len(cells) and cells[last + 1] == cells[first]:
                last += 1
            if cells[first]:
                self._cell(first, last, top, *cells[first])
            first = last + 1

    def _cell(self, first: int, last: int, top: int, text: str, colour: str, kind: str) -> None:
        left, width = _LEFT + first * _EDGE, (last - first + 1) * _EDGE
        dash = ' stroke-dasharray="3,2"' if kind == "waits" else ""
        line = "none" if colour == "#ffffff" and not dash else "#555555"
        self._parts.append(
            f'<rect x="{left + 1}" y="{top + 2}" width="{width - 2}" height="{_ROW - 4}" rx="2" fill="{colour}" '
            f'stroke="{line}"{dash}/>'
        )
        if width < 2 * _EDGE and text.startswith("tile "):
            text = text.removeprefix("tile ")
        self._parts.append(f'<text x="{left + width / 2:g}" y="{top + 16}" text-anchor="middle">{text}</text>')

    def text(self, title: str, causes: set[str]) -> str:
        """The whole SVG file, with a legend of ``causes``."""
        width, height = _LEFT + self.edges * _EDGE + 12, _TOP + self.rows * _ROW + 34
        lines = []
        for edge in range(self.edges + 1):
            x = _LEFT + edge * _EDGE
            lines.append(f'<line x1="{x}" y1="{_TOP}" x2="{x}" y2="{height - 34}" stroke="#eeeeee"/>')
            if edge < self.edges:
                lines.append(f'<text x="{x + _EDGE / 2:g}" y="{_TOP - 8}" text-anchor="middle">{edge + 1}</text>')
        lines.append(f'<text x="{_LEFT - 8}" y="{_TOP - 8}" text-anchor="end">edge</text>')
        legend, x = [], _LEFT
        for cause, colour in ((cause, colour) for cause, colour in _CAUSE_COLOURS.items() if cause in causes):
            letter = f" ({_short(cause)})" if _short(cause) else ""
            legend.append(f'<rect x="{x}" y="{height - 24}" width="12" height="12" fill="{colour}" stroke="#555555"/>')
            legend.append(f'<text x="{x + 17}" y="{height - 14}">{cause}{letter}</text>')
            x += 125
        legend.append(
            f'<rect x="{x}" y="{height - 24}" width="12" height="12" fill="none" stroke="#555555" '
            f'stroke-dasharray="3,2"/><text x="{x + 17}" y="{height - 14}">offered, not taken</text>'
        )
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="sans-serif" font-size="11" fill="#222222">'
        )
        background = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
        return "\n".join([head, f"<title>{title}</title>", background, *lines, *self._parts, *legend, "</svg>", ""])
