"""The core in Amaranth: from ports and columns to the array, the sequencer and the bus top levels."""
