"""A block diagram of the core, drawn as SVG from its config: what stands between the streams, and how wide it is."""

from typing import NamedTuple

from hw.config import ArrayConfig
from hw.gateware.ports import (
    addends_layout,
    descriptor_layout,
    exponents_layout,
    negatives_layout,
    results_layout,
    scales_layout,
    sums_layout,
    tile_layout,
    total_shape,
    totals_layout,
    trits_per_word,
    vector_layout,
    weighted_layout,
)

__all__ = ["Box", "block_svg", "grid_row", "tree_row"]

_BOX, _GAP, _MARGIN, _HEIGHT = 128, 58, 104, 62  # pixels: width of a box, between boxes, of the ports, height of a box
_UPPER, _LOWER, _CONTROL = 44, 152, 268  # pixels: tops of the rows of weights and scales, of activations, of control
_WEIGHTS, _DATA, _SUMS, _SCALES, _SEQUENCER = "#c6dbef", "#c7e9c0", "#fdd0a2", "#dadaeb", "#eeeeee"


class Box(NamedTuple):
    """A block of the row of activations, with what it gives to the next and what stands above it."""

    name: str
    lines: tuple[str, str]
    colour: str
    out_bits: int
    control: str = ""  # what the sequencer tells it, or for credits hears from it
    above: tuple[str, str, str] | None = None  # name and lines of a block above
    both_ways: bool = False  # that block is also written


def block_svg(config: ArrayConfig) -> str:
    """The diagram of the core of ``config``; the edges are those that write a block's registers for one vector.

    Raises:
        InputError: the array is not a ternary one.
    """
    config.check_ternary()
    row = config.structure.gateware("diagram")(config)
    picture = _Picture(config, len(row) + 1)
    picture.weights(config, "columns" if config.structure.counts_negatives else "elements")
    picture.port(_LOWER, "activations", vector_layout(config).size, 1)
    for number, box in enumerate(row):
        picture.block(number + 1, box, last=number == len(row) - 1)
    picture.sequencer(descriptor_layout(config).size, row)
    return picture.text()


def tree_row(config: ArrayConfig) -> list[Box]:
    """Vector register to result queue of a tree."""
    sums, ready, shift = sums_layout(config).size, 1 + config.total_stages, int(config.group_exponent_bits > 0)
    first = ("vector register", f"{config.rows} x 8 bits")
    if config.sum_of_x:
        first = ("vectors, their sum", f"{config.rows} x 8, {total_shape(config).width} bits")
    chains = f"{config.chains} chains of {config.chain_lanes}" if config.chain_lanes > 1 else f"{config.rows} lanes"
    row = [
        Box(first[0], (first[1], "edge e"), _DATA, vector_layout(config).size, "issue"),
        Box(
            f"{config.cols} columns",
            (f"{chains}, tree", _edges(1, config.array_stages)),
            _DATA,
            totals_layout(config).size,
        ),
    ]
    if config.digits:
        weights = (f"times 1 to {config.largest_plane_weight}", _edges(1 + config.array_stages, ready - 1 - shift))
        row.append(Box("plane weights", weights, _SUMS, weighted_layout(config).size, "plane"))
    if config.group_exponent_bits:
        exponents = ("exponents", f"{config.tiles_in_flight} x {exponents_layout(config).size} bits", "from weights")
        shifted = (f"0 to {config.max_exponent} bits left", _edges(ready - 1, ready - 1))
        row.append(Box("shifters", shifted, _SUMS, addends_layout(config).size, above=exponents))
    count = config.cols + config.sum_of_x
    buffer = ("accumulator buffer", f"{config.token_tile} tokens x {sums} bits", "in RAM")
    adders = (f"{config.accumulator_bits} bits each", _edges(ready, ready))
    row.append(Box(f"{count} adders", adders, _SUMS, sums, "first, last, token", buffer, True))
    results = results_layout(config).size
    if config.results == "int8":
        scales = ("scales", f"{config.tiles_in_flight} x {scales_layout(config).size} bits", "from weights")
        lines = ("to int8", _edges(ready + 1, ready + config.requantizer_stages))
        row.append(Box("requantizer", lines, _SUMS, results, "shift", scales))
    return [*row, _queue(config, results)]


def grid_row(config: ArrayConfig) -> list[Box]:
    """Vector register to result queue of a grid."""
    sums = sums_layout(config).size
    elements = (f"sums of {config.accumulator_bits} bits", "edge e + 2 + r + c")
    return [
        Box("vectors, skewed", (f"{config.rows} x 8 bits", "edge e"), _DATA, vector_layout(config).size, "issue"),
        Box(f"{config.rows} x {config.cols} elements", elements, _SUMS, config.rows * sums, "final"),
        Box("readout", ("a token per edge", "from edge e + 3"), _SUMS, sums),
        _queue(config, sums),
    ]


def _queue(config: ArrayConfig, bits: int) -> Box:
    lines = (f"{config.result_queue_depth} x {bits} bits", f"out from e + {config.pipeline_latency}")
    return Box("result queue", lines, _SUMS, bits, "credits")


def _edges(first: int, last: int) -> str:
    return f"edge e + {first}" if first == last else f"edges e + {first} to {last}"


class _Picture:
    """Boxes in ``places`` columns, lines between them, ports on both sides."""

    def __init__(self, config: ArrayConfig, places: int):
        self.config, self.places, self._parts = config, places, []

    def weights(self, config: ArrayConfig, readers: str) -> None:
        """From the weight stream to the active tile, which stands above its readers in place 2."""
        bits = tile_layout(config).size
        count_bits = negatives_layout(config).size // config.cols
        counted = [f"{config.cols} counts of -1, {count_bits} bits"] * (readers == "columns")
        self.port(_UPPER, "weights", config.weight_bus_bits, 0)
        self._box(0, _UPPER, "unpacker", (f"{trits_per_word(config)} trits a word", config.packing), _WEIGHTS)
        self._arrow((self._right(0), self._middle(_UPPER)), (self._left(1), self._middle(_UPPER)))
        self._label(self._right(0) + _GAP / 2, self._middle(_UPPER) - 6, f"{2 * trits_per_word(config)}")
        self._box(1, _UPPER, "shadow tile", (f"{bits} bits", f"{config.weight_beats} beats"), _WEIGHTS)
        self._arrow((self._right(1), self._middle(_UPPER)), (self._left(2), self._middle(_UPPER)))
        self._label(self._right(1) + _GAP / 2, self._middle(_UPPER) - 6, "swap")
        self._box(2, _UPPER, "active tile", (f"{bits} bits", *counted), _WEIGHTS)
        self._arrow((self._centre(2), _UPPER + _HEIGHT), (self._centre(2), _LOWER))

    def port(self, top: int, name: str, bits: int, place: int) -> None:
        """A stream that comes in from the left into ``place``."""
        middle = self._middle(top)
        self._arrow((12, middle), (self._left(place), middle))
        self._label(12, middle - 6, name, "start")
        self._label(12, middle + 15, f"{bits} bits", "start")

    def block(self, place: int, box: Box, last: bool) -> None:
        """A box of the row of activations, the stream behind it, and what stands above it."""
        middle, right = self._middle(_LOWER), self._right(place)
        self._box(place, _LOWER, box.name, box.lines, box.colour)
        if last:
            self._arrow((right, middle), (right + _MARGIN - 24, middle))
            self._label(right + 10, middle - 6, "results", "start")
            self._label(right + 10, middle + 15, f"{box.out_bits} bits", "start")
        else:
            self._arrow((right, middle), (self._left(place + 1), middle))
            self._label(right + _GAP / 2, middle - 6, f"{box.out_bits}")
        if box.above:
            self._box(place, _UPPER, box.above[0], box.above[1:], _SCALES)
            x = self._centre(place)
            down = x + 14 if box.both_ways else x
            self._arrow((down, _UPPER + _HEIGHT), (down, _LOWER))
            if box.both_ways:
                self._arrow((x - 14, _LOWER), (x - 14, _UPPER + _HEIGHT))

    def sequencer(self, descriptor_bits: int, row: list[Box]) -> None:
        """The box below everything, and what it tells the others."""
        left, width = self._left(0), self._right(self.places - 1) - self._left(0)
        self.port(_CONTROL, "descriptor", descriptor_bits, 0)
        lines = (
            "walks token tiles, column tiles, folds; decides loads, swaps, issues",
            "counts every edge by its cause",
        )
        self._draw(left, _CONTROL, width, "sequencer, counters", lines, _SEQUENCER)
        self._control(self._centre(0), _CONTROL, _UPPER + _HEIGHT, "load")
        for place, box in enumerate(row, 1):
            ends = (_LOWER + _HEIGHT, _CONTROL) if box.control == "credits" else (_CONTROL, _LOWER + _HEIGHT)
            if box.control:
                self._control(self._centre(place), *ends, box.control)

    def text(self) -> str:
        """The whole SVG file."""
        width = self._right(self.places - 1) + _MARGIN
        height = _CONTROL + _HEIGHT + 16
        heads = "".join(
            f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0,0 L8,4 L0,8 z" fill="{colour}"/></marker>'
            for name, colour in (("data", "#333333"), ("told", "#888888"))
        )
        config = self.config
        title = (
            f"core of {config.rows} x {config.cols} lanes, {config.organisation}: numbers at arrows are bits; "
            "edge e accepts a vector"
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
                f'height="{height}" font-family="sans-serif" font-size="11" fill="#222222">',
                f"<title>{title}</title>",
                f"<defs>{heads}</defs>",
                f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
                f'<text x="12" y="22" font-size="12">{title}</text>',
                *self._parts,
                "</svg>",
                "",
            ]
        )

    def _left(self, place: int) -> int:
        return _MARGIN + place * (_BOX + _GAP)

    def _right(self, place: int) -> int:
        return self._left(place) + _BOX

    def _centre(self, place: int) -> float:
        return self._left(place) + _BOX / 2

    def _middle(self, top: int) -> float:
        return top + _HEIGHT / 2

    def _box(self, place: int, top: int, name: str, lines: tuple[str, ...], colour: str) -> None:
        self._draw(self._left(place), top, _BOX, name, lines, colour)

    def _draw(self, left: int, top: int, width: int, name: str, lines: tuple[str, ...], colour: str) -> None:
        self._parts.append(
            f'<rect x="{left}" y="{top}" width="{width}" height="{_HEIGHT}" rx="4" fill="{colour}" stroke="#555555"/>'
        )
        self._label(left + width / 2, top + 20, name, weight="bold")
        for number, line in enumerate(lines):
            self._label(left + width / 2, top + 37 + 15 * number, line)

    def _label(self, x: float, y: float, text: str, anchor: str = "middle", weight: str = "normal") -> None:
        bold = ' font-weight="bold"' if weight == "bold" else ""
        self._parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{bold}>{text}</text>')

    def _arrow(self, start: tuple[float, float], end: tuple[float, float], kind: str = "data") -> None:
        style = 'stroke="#333333"' if kind == "data" else 'stroke="#888888" stroke-dasharray="4,3"'
        self._parts.append(
            f'<line x1="{start[0]:g}" y1="{start[1]:g}" x2="{end[0]:g}" y2="{end[1]:g}" {style} '
            f'marker-end="url(#{kind})"/>'
        )

    def _control(self, x: float, start: float, end: float, what: str) -> None:
        self._arrow((x, start), (x, end), "told")
        self._label(x + 6, _CONTROL - 10, what, "start")
