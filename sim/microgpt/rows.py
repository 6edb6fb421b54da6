"""Rows that microGPT's machine is measured in: names on the RTL, cycles of the simulator, placements on a board."""

from hw.document import Record

__all__ = ["LogRow", "RoutedRow", "SweepRow"]

_USUAL = {"key_digits": 3, "value_digits": 3, "table_digits": 3}  # as the command has them by default


class _Measured(Record):
    """What every row is of: array, lanes, memory and number formats. Old files do not say all of them."""

    array: str
    lanes: int
    latency: int = 3  # of the memory, in edges
    key_digits: int = _USUAL["key_digits"]
    value_digits: int = _USUAL["value_digits"]
    table_digits: int = _USUAL["table_digits"]

    @property
    def digits(self) -> tuple[int, int, int]:
        """Of K, V, and embedding and head."""
        return self.key_digits, self.value_digits, self.table_digits

    @property
    def measured(self) -> tuple[str | int, ...]:
        """Machine, memory and formats: rows that differ in them stand side by side."""
        return self.array, self.lanes, self.latency, *self.digits

    @property
    def machine(self) -> str:
        """Array and lanes, and what else is not as the command has it by default."""
        usual = self.latency == _Measured.model_fields["latency"].default
        return f"{self.array}, {self.lanes} lanes{'' if usual else self._memory}{self._formats}"

    @property
    def _memory(self) -> str:
        return f", latency {self.latency}"

    @property
    def _formats(self) -> str:
        usual = self.digits == tuple(_USUAL.values())
        return "" if usual else ", digits of K, V and table {}, {} and {}".format(*self.digits)


class LogRow(_Measured):
    """Names that the RTL wrote after one more change, tokens and cycles equal."""

    change: str
    latency: int = 2
    names: int
    tokens: int  # taken in, END included
    instructions: int  # whose cycles on the RTL equal the simulator's
    names_sha256: str  # of what was written
    first: int  # cycles of a name's first written letter
    longest: int  # of the slowest
    cycles: dict[str, float]  # of a written letter on average, by operation
    verilog_sha256: str

    @property
    def key(self) -> tuple[str | int, ...]:
        """What a later measurement replaces."""
        return self.change, *self.measured

    @property
    def machine(self) -> str:
        """Array, lanes and memory, and digits that are not as the command has them by default."""
        return f"{self.array}, {self.lanes} lanes{self._memory}{self._formats}"

    @property
    def average(self) -> float:
        """Cycles of a written letter on average."""
        return sum(self.cycles.values())


class SweepRow(_Measured):
    """A machine that could run the model, by the cycle simulator alone."""

    average: float  # cycles per written letter
    memory_bytes: int  # image, K and V


class RoutedRow(_Measured):
    """The machine with its memory in block RAM and its serial line, placed and routed for a board, by seed."""

    board: str
    memory_bytes: int
    average: float  # cycles per written letter of the same machine, by the cycle simulator
    tables: int
    flip_flops: int
    block_rams: int
    dsps: int
    mhz: dict[str, float]
    verilog_sha256: str

    @property
    def rate(self) -> float:
        """Tokens per second at the clock of the best seed."""
        return 1e6 * max(self.mhz.values()) / self.average
