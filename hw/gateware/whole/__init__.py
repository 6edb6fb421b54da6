"""The whole-token machine in Amaranth: shared vector lanes, memories, sequencer and the top that runs programs."""
