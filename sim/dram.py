"""``DramChannel``: banks, timing and address map of one DRAM channel, and the bandwidth that streams get from it."""

from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from hw.document import Record
from sim.kernels.dram import serve_bursts

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
    """One channel (or pseudo-channel). Times in clocks of ``clock_ps``; a burst moves one access."""

    source: str
    clock_ps: Annotated[float, Field(gt=0)]
    bank_groups: Positive
    banks_per_group: Positive
    bursts_per_row: Positive  # of one bank, all chips of the channel
    address_map: AddressMap  # most significant first; the second spreads neighbouring bursts over bank groups
    lookahead: Positive = 1  # bursts that the controller may reorder; 1 = in order
    write_buffer: Positive = 16  # bursts that wait until all are written together
    burst: Positive
    cas_short: Positive  # tCCD_S
    cas_long: Positive  # tCCD_L, inside a bank group
    activate_to_cas: Positive  # tRCD
    precharge: Positive  # tRP
    row_active: Positive  # tRAS
    activate_short: Positive  # tRRD_S
    activate_long: Positive  # tRRD_L
    four_activates: Positive  # tFAW
    read_to_precharge: Positive  # tRTP
    read_latency: Positive  # CL
    write_latency: Positive  # CWL
    write_recovery: Positive  # tWR
    write_to_read_short: Positive  # tWTR_S
    write_to_read_long: Positive  # tWTR_L
    refresh: Positive  # tRFC
    refresh_interval: Positive  # tREFI

    @model_validator(mode="after")
    def _can_serve(self) -> "DramChannel":
        busy = self.refresh + self.precharge + self.activate_to_cas + self.row_active
        if self.refresh_interval <= busy:
            raise ValueError(
                f"refresh_interval must be longer than a refresh and an access ({busy}), not {self.refresh_interval}"
            )
        return self

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

    def _measure(self, read_share: float, run: int = 1, bank_shift: int = 0) -> StreamResult:
        """Step a stream with and without refresh; the difference is what refresh costs."""
        count = _REFRESH_INTERVALS * self.refresh_interval // self.burst
        efficiency, hits = self._step(count, read_share, run, bank_shift, self.refresh_interval)
        unrefreshed, _ = self._step(_BURSTS_WITHOUT_REFRESH, read_share, run, bank_shift, 0)
        return StreamResult(efficiency, 1 - unrefreshed, unrefreshed - efficiency, hits)

    def _step(
        self, count: int, read_share: float, run: int, bank_shift: int, refresh_interval: int
    ) -> tuple[float, float]:
        """Efficiency and row hits of ``count`` bursts."""
        number = np.arange(count, dtype=np.int64) // run
        reads = np.floor((number + 1) * read_share).astype(np.int64) - np.floor(number * read_share).astype(np.int64)
        writes = 1 - reads
        place = np.where(writes == 1, np.cumsum(writes) - 1, np.cumsum(reads) - 1)
        group, bank, row = self.locate(place, np.where(writes == 1, bank_shift, 0))
        row += np.where(writes == 1, _ROWS_OF_WRITES, 0)
        issued, activates, _ = serve_bursts(
            group, bank, row, writes, self.lookahead, self.write_buffer, self.burst, self.cas_short, self.cas_long,
            self.activate_to_cas, self.precharge, self.row_active, self.activate_short, self.activate_long,
            self.four_activates, self.read_to_precharge, self.read_latency, self.write_latency, self.write_recovery,
            self.write_to_read_short, self.write_to_read_long, self.refresh, refresh_interval,
        )  # fmt: skip
        clocks = int(issued.max()) - int(issued.min()) + self.burst
        return count * self.burst / clocks, 1 - activates / count

    def locate(self, place: np.ndarray, bank_shift: np.ndarray | int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bank group, bank (numbered over all groups) and row of the burst at each sequential place, int64."""
        if self.address_map == "row-bank-group-column":
            above_column = place // self.bursts_per_row
            group, above = above_column % self.bank_groups, above_column // self.bank_groups
        else:
            group, above = place % self.bank_groups, place // (self.bank_groups * self.bursts_per_row)
        bank = (above + bank_shift) % self.banks_per_group
        return group, group * self.banks_per_group + bank, above // self.banks_per_group
