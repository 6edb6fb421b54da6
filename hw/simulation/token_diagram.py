"""A token on the whole-token machine, edge by edge downwards, drawn as SVG: as wide as a telephone's screen."""

from collections.abc import Callable, Sequence
from itertools import groupby

from hw.division import ceil_divide
from hw.program.image import Image
from hw.simulation.token_example import TOKEN, example
from hw.simulation.token_waveform import TokenEdge, play_token

__all__ = ["example_svg", "token_svg"]

_WIDTH, _TOP, _EDGE, _LABEL = 390, 58, 4, 11  # pixels: of the picture, above the first edge, of an edge, of a label
_COLUMNS = {  # left edge and width in pixels
    "memory": (34, 58),
    "front": (94, 48),
    "runs": (144, 66),
    "array": (212, 48),
    "lanes": (262, 48),
    "division": (312, 44),
    "writes": (358, 30),
}
_FRONT = {"fetch": "#c6dbef", "look up": "#e3e3e3", "ready": "#c7e9c0"}
_WORDS, _RUNS, _SCAN, _LANES, _DIVIDES, _WRITES = "#6baed6", "#fdd0a2", "#fdae6b", "#fb9a6a", "#bcbddc", "#f4a6c8"
_ARRAY = {"weights": "#6baed6", "vector": "#74c476", "sums": "#fb9a6a"}
_LEGEND = (
    "memory: a line asks for a burst, bars are words, one per edge",
    "front: the next instruction is fetched, looked up, is ready",
    "runs: an instruction; its edges count from the end of the one before",
    "array: w weights, x int8 vectors in; y sums out",
    "lanes: the kernel of the words that enter; scan: a maximum",
)
_STYLE = (
    ".paper{fill:#ffffff}.ink{fill:#222222}.line{stroke:#222222}.grid{stroke:#dddddd}.bar{fill:#1a1a1a}"
    "@media (prefers-color-scheme:dark)"
    "{.paper{fill:#16181c}.ink{fill:#e4e4e4}.line{stroke:#e4e4e4}.grid{stroke:#3a3d44}}"
)


def example_svg() -> str:
    """The picture of docs/token_machine.md, of ``example``."""
    image = example()
    return token_svg(image, play_token(image, TOKEN))


def token_svg(image: Image, edges: Sequence[TokenEdge], first: int = 0) -> str:
    """The picture of ``edges`` as ``play_token`` returns them, from the one that takes instruction ``first``."""
    names = [one.operation for one in image.program()]
    begin = next((number for number, edge in enumerate(edges) if edge.runs is not None and edge.runs >= first), 0)
    begin = begin if first else 0
    shown = edges[begin:]
    picture = _Picture(begin, len(shown))
    picture.memory(shown)
    picture.bars("front", shown, lambda edge: edge.front, _FRONT.__getitem__)
    picture.instructions(shown, names)
    for number, (name, colour) in enumerate(_ARRAY.items()):
        picture.bars("array", shown, lambda edge, name=name: getattr(edge, name), lambda _, c=colour: c, (number, 3))
    picture.bars("lanes", shown, lambda edge: edge.lanes, lambda name: _SCAN if name == "scan" else _LANES)
    picture.bars("division", shown, lambda edge: edge.divides, lambda _: _DIVIDES)
    picture.bars("writes", shown, lambda edge: edge.write, lambda _: _WRITES)
    array = image.machine.array
    title = f"a token on {array.rows} x {array.cols} lanes and {image.machine.lanes} vector lanes, edge by edge"
    return picture.text(title)


class _Picture:
    """Columns over edges ``begin``, ``begin + 1``, ...; neighbouring edges of one text are one bar."""

    def __init__(self, begin: int, edges: int):
        self.begin, self.edges, self._parts = begin, edges, []

    def bars(
        self,
        column: str,
        edges: Sequence[TokenEdge],
        text_of: Callable[[TokenEdge], str | bool],
        colour: Callable[[str], str],
        part: tuple[int, int] = (0, 1),
    ) -> None:
        """A column, or ``part`` (number, of how many) of one; edges without a text have no bar."""
        left, width = _COLUMNS[column]
        width //= part[1]
        at = 0
        for text, group in groupby(edges, text_of):
            count = len(list(group))
            if text:
                label = text if isinstance(text, str) else ""
                self._bar(left + part[0] * width, width, at, count, colour(text), label)
            at += count

    def memory(self, edges: Sequence[TokenEdge]) -> None:
        """Words as bars, and a line with their number where a burst is asked for."""
        self.bars("memory", edges, lambda edge: edge.word, lambda _: _WORDS)
        left, width = _COLUMNS["memory"]
        for at, edge in enumerate(edges):
            if edge.request:
                y = _y(at)
                self._parts.append(
                    f'<line class="line" x1="{left}" y1="{y}" x2="{left + width}" y2="{y}" stroke-width="2"/>'
                )
                words = f"{edge.request[1]} word" + "s" * (edge.request[1] != 1)
                self._text(left + width / 2, y + _LABEL, words)

    def instructions(self, edges: Sequence[TokenEdge], names: Sequence[str]) -> None:
        """What runs: a bar per instruction with its edges, and a line where it ends."""
        left, width = _COLUMNS["runs"]
        at = 0
        for number, group in groupby(edges, lambda edge: edge.runs):
            run = list(group)
            if number is not None:
                self._bar(left, width, at, len(run), _RUNS, f"{number} {names[number]}")
                if run[-1].counter is not None:
                    y = _y(at + len(run))
                    self._parts.append(
                        f'<line class="line" x1="{left}" y1="{y}" x2="{left + width}" y2="{y}" stroke-width="2"/>'
                    )
                    if len(run) * _EDGE >= 3 * _LABEL:
                        self._text(left + width / 2, _y(at) + 2 * _LABEL + 2, f"{run[-1].counter} edges", "bar")
            at += len(run)

    def _bar(self, left: int, width: int, at: int, count: int, colour: str, label: str) -> None:
        y, height = _y(at), count * _EDGE
        self._parts.append(f'<rect x="{left}" y="{y}" width="{width - 1}" height="{height}" fill="{colour}"/>')
        if label and height >= _LABEL:
            self._text(left + width / 2, y + min(_LABEL, height - 2), label, "bar")

    def _text(self, x: float, y: float, text: str, kind: str = "ink", anchor: str = "middle") -> None:
        self._parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{text}</text>')

    def text(self, title: str) -> str:
        """The whole SVG file."""
        bottom = _y(self.edges)
        height = bottom + 14 * (len(_LEGEND) + 1)
        drawn, self._parts = self._parts, []
        every = 10
        for edge in range(ceil_divide(self.begin, every) * every, self.begin + self.edges + 1, every):
            y = _y(edge - self.begin)
            self._parts.append(f'<line class="grid" x1="30" y1="{y}" x2="{_WIDTH - 2}" y2="{y}"/>')
            self._text(28, y + 4, str(edge), anchor="end")
        for name, (left, width) in _COLUMNS.items():
            self._text(left + width / 2, _TOP - 20, name)
        left, width = _COLUMNS["array"]
        for number, letter in enumerate("wxy"):
            self._text(left + (number + 0.5) * width / 3, _TOP - 7, letter)
        self._text(28, _TOP - 20, "edge", anchor="end")
        self._text(6, 16, title, anchor="start")
        for number, line in enumerate(_LEGEND):
            self._text(6, bottom + 14 * (number + 1) + 4, line, anchor="start")
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
            f'height="{height}" font-family="sans-serif" font-size="10.5">'
        )
        background = f'<rect class="paper" width="{_WIDTH}" height="{height}"/>'
        style = f"<style>{_STYLE}</style>"
        parts = [head, f"<title>{title}</title>", style, background, *self._parts, *drawn, "</svg>", ""]
        return "\n".join(parts)


def _y(edge: int) -> int:
    return _TOP + edge * _EDGE
