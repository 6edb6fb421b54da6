"""``DramChannel``: banks, timing and address map of one DRAM channel, and the bandwidth that streams get from it."""

import json
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from hw.document import Record
from sim.kernels.bursts import BURST, DramTiming, Queues
from sim.store import recall, remember

__all__ = ["AddressMap", "DramChannel", "StreamResult"]

AddressMap = Literal["row-bank-group-column", "row-bank-column-group"]
Positive = Annotated[int, Field(ge=1)]

_REFRESH_INTERVALS = 6  # length of a measured stream
_BURSTS_WITHOUT_REFRESH = 20_000
_ROWS_OF_WRITES = 1 << 20


class StreamResult(NamedTuple):
    """What a long stream gets, as shares of the clocks."""

    efficiency: float  # bursts moved x their clocks / clocks: share of the pins' peak
    bank_loss: float  # rows, banks, bank groups and turnarounds
    refresh_loss: float
    row_hits: float  # share of bursts that found their row open


class DramChannel(Record):
    """One channel (or pseudo-channel). Times in clocks of ``clock_ps``, named as in JEDEC's standards."""

    source: str
    clock_ps: Annotated[float, Field(gt=0)]
    bank_groups: Positive
    banks_per_group: Positive
    bursts_per_row: Positive  # of one bank, all chips of the channel
    address_map: AddressMap  # most significant first; the second spreads neighbouring bursts over bank groups
    lookahead: Positive = 1  # bursts that the controller may reorder; 1 = in order
    write_buffer: Positive = 16  # bursts that wait until all are written together
    burst: Positive  # BL/2 of a double data rate
    tCCD_S: Positive  # column command to column command, other bank group
    tCCD_L: Positive  # same bank group
    tRCD: Positive  # activate to column command
    tRP: Positive  # precharge to activate
    tRAS: Positive  # activate to precharge
    tRRD_S: Positive  # activate to activate, other bank group
    tRRD_L: Positive  # same bank group
    tFAW: Positive  # first to fifth activate
    tRTP: Positive  # read to precharge
    CL: Positive  # read to its data
    CWL: Annotated[int, Field(ge=0)]  # write to its data; 0: they come with the command, as on SDR
    tWR: Positive  # end of a write's data to precharge
    tWTR_S: Positive  # end of a write's data to read, other bank group
    tWTR_L: Positive  # same bank group
    tRFC: Positive  # refresh to activate
    tREFI: Positive  # refresh to refresh

    @model_validator(mode="after")
    def _can_serve(self) -> "DramChannel":
        busy = self.tRFC + self.tRP + self.tRCD + self.tRAS
        if self.tREFI <= busy:
            raise ValueError(
                f"tREFI must be longer than tRFC + tRP + tRCD + tRAS, a refresh and an access: {busy}, not {self.tREFI}"
            )
        return self

    def interleaved(self) -> "DramChannel":
        """The same banks with an address map that spreads neighbouring bursts over bank groups."""
        return self.model_copy(update={"address_map": "row-bank-column-group"})

    def sequential(self) -> StreamResult:
        """Reads of consecutive addresses."""
        return self._measure(1.0)

    def mixed(self, read_share: float, run: int = 64, shared_banks: bool = False) -> StreamResult:
        """Reads of consecutive addresses between writes of others, arriving in runs of ``run`` bursts.

        Writes go to rows of their own, half of a group's banks away from the reads, or, with ``shared_banks``, in the
        very banks that are read, which close each other's rows.
        """
        return self._measure(read_share, run, 0 if shared_banks else self.banks_per_group // 2)

    def write_cost(self) -> float:
        """Time of a written burst over that of a read one, turnarounds included, at three reads per write.

        A mixed stream's time is that of its reads, at the rate of reads alone, and of its writes.
        """
        return (self.sequential().efficiency / self.mixed(0.75).efficiency - 0.75) / 0.25

    @property
    def timing(self) -> DramTiming:
        """Times as the kernel takes them."""
        return DramTiming(*(getattr(self, name) for name in DramTiming._fields))

    def _measure(self, read_share: float, run: int = 1, bank_shift: int = 0) -> StreamResult:
        """Step a stream with and without refresh, unless an earlier process has; the difference is refresh's cost."""
        key = f"{self.model_dump_json()} {read_share} {run} {bank_shift}"
        if (known := recall(key)) is not None:
            return StreamResult(*json.loads(known))
        count = _REFRESH_INTERVALS * self.tREFI // self.burst
        efficiency, hits = self._step(self._stream(count, read_share, run, bank_shift), self.timing)
        short = self._stream(_BURSTS_WITHOUT_REFRESH, read_share, run, bank_shift)
        unrefreshed, _ = self._step(short, self.timing._replace(tREFI=0))
        result = StreamResult(float(efficiency), float(1 - unrefreshed), float(unrefreshed - efficiency), float(hits))
        remember(key, json.dumps(result))
        return result

    def _stream(self, count: int, read_share: float, run: int, bank_shift: int) -> np.ndarray:
        """``count`` bursts: runs of reads and of writes, each at consecutive addresses of its own."""
        number = np.arange(count, dtype=np.int64)
        reads_before = np.floor(np.arange(count // run + 2) * read_share).astype(np.int64)  # in runs
        write = 1 - np.diff(reads_before)[number // run]
        writes = np.cumsum(write)  # up to and with each burst
        group, bank, row = self.locate(np.where(write, writes - 1, number - writes), write * bank_shift)
        return np.rec.fromarrays([group, bank, row + write * _ROWS_OF_WRITES, write], dtype=BURST)

    def _step(self, bursts: np.ndarray, timing: DramTiming) -> tuple[float, float]:
        """Efficiency and row hits of a stream."""
        from sim.kernels.dram import serve_bursts  # loads numba, which a run that knows its bandwidth needs not

        served = serve_bursts(bursts, Queues(self.lookahead, self.write_buffer), timing)
        count, clocks = bursts.size, int(served.issued.max()) - int(served.issued.min()) + self.burst
        return count * self.burst / clocks, 1 - served.activates / count

    def locate(self, place: np.ndarray, bank_shift: np.ndarray | int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bank group, bank (numbered over all groups) and row of the burst at each sequential place, int64."""
        if self.address_map == "row-bank-group-column":
            above, group = np.divmod(place // self.bursts_per_row, self.bank_groups)
        else:
            above, group = np.divmod(place, self.bank_groups)
            above //= self.bursts_per_row
        row, bank = np.divmod(above, self.banks_per_group)
        return group, group * self.banks_per_group + (bank + bank_shift) % self.banks_per_group, row
