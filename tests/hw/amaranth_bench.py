"""A bench in Amaranth's simulator, with a clock of 1 MHz."""

from amaranth.sim import Simulator

__all__ = ["played_by"]


def played_by(dut, bench):
    """Run the coroutine ``bench(ctx)`` beside ``dut`` to its end."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
