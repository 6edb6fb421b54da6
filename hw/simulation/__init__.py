"""The core run by a simulator: Verilator builds, waveforms, block and timing diagrams."""
