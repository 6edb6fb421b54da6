"""What ``sim.kernels.dram`` serves: a stream of bursts, the controller's queues, a channel's timing; needs no numba."""

from typing import NamedTuple

import numpy as np

__all__ = ["BURST", "DramTiming", "Queues"]

BURST = np.dtype([("group", np.int64), ("bank", np.int64), ("row", np.int64), ("write", np.int64)])
"""One access: bank group, bank (numbered over all groups), row, and whether it is a write (0 or 1)."""


class Queues(NamedTuple):
    """How many bursts of each direction the controller sees at once."""

    reads: int  # 1 = in order
    writes: int  # they wait until so many are there, then all are written


class DramTiming(NamedTuple):
    """Least distances between commands, clocks."""

    burst: int  # data of one burst on the pins, BL/2 of a double data rate
    tCCD_S: int  # column command to column command in another bank group
    tCCD_L: int  # in the same bank group
    tRCD: int  # activate to column command
    tRP: int  # precharge to activate
    tRAS: int  # activate to precharge
    tRRD_S: int  # activate to activate in another bank group
    tRRD_L: int  # in the same bank group
    tFAW: int  # first to fifth activate
    tRTP: int  # read to precharge
    CL: int  # read to its first data
    CWL: int  # write to its first data
    tWR: int  # a write's last data to precharge
    tWTR_S: int  # a write's last data to a read in another bank group
    tWTR_L: int  # in the same bank group
    tRFC: int  # refresh to activate
    tREFI: int  # refresh to refresh; 0: never refreshed
