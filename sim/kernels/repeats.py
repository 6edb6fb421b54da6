"""When rounds of weight tiles come to repeat, column tile by column tile, and where they stand some repetitions later.

Column tiles of one token tile bring alike rounds, but for the first and a smaller last one. What follows on a state of
the walk depends on its edges relative to each other alone: where they stand as they stood q columns before, these q
columns repeat for good. Three cases, each of them exact:

- Alike: edges, chains of waits and DRAM's clock stand as before. Every q columns add what the last q added.
- DRAM apart: all but DRAM's clock stands as before, and in these columns no round waited for its bytes, nor DRAM for
  room. Its clock comes nearer to one of the two by the same ticks every q columns, which bounds how often.
- DRAM alone: every round waits for its bytes, and from one to the next DRAM takes longer than bus and array together.
  No edge need repeat, since edges are DRAM's clock rounded up: the clock after n columns gives the others.
"""

import numpy as np

__all__ = ["SEEN", "SLOT", "WALK"]

# Where the stepping of a GEMM stands; names of edges as in ``sim.kernels.tiles``.
_EDGES = ("loaded", "swapped", "done", "released")  # latest of each
_COUNTERS = ("number", "moved", "without_tile", "ideal", "fill_drain", "output_stall", "dram_stall")
_CHAINS = ("swap_beats", "swap_moves", "dram_beats", "dram_moves")  # on the chains of waits
WALK = np.dtype([(name, np.int64) for name in (*_EDGES, *_COUNTERS, *_CHAINS, "dram_ticks", "restart", "leaving")])

# A slot of the weight buffer: edge at which it became free, beats and DRAM's ticks on the chain of waits to that edge.
SLOT = np.dtype([(name, np.int64) for name in ("free", "beats", "moves")])

# What rounds showed since the state that they are compared with.
SEEN = np.dtype(
    [
        ("columns", np.int64),  # since then
        ("most", np.int64),  # after so many a later state is compared with; 0: there is none yet
        ("ticks", np.int64),  # of DRAM
        ("met", np.int64),  # 1: DRAM waited for room, or a round for its bytes
        ("slack", np.int64),  # ticks, least, by which room was there before DRAM wanted it
        ("gap", np.int64),  # cycles, least, by which bytes were there before the bus wanted them
        ("bound", np.int64),  # rounds in a row that waited for bytes which took longer than bus and array
        ("busy", np.int64),  # cycles that the latest round takes of bus and array, as DRAM alone must exceed
        ("held", np.int64),  # and of the array behind the bus
    ]
)
