"""The end of a datapath: a result stream, and the credits that keep its queue from overflowing."""

from amaranth import Module, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, Member, Out

from hw.config import ArrayConfig
from hw.gateware.ports import results_layout

__all__ = ["count_credits", "result_ports"]


def result_ports(config: ArrayConfig) -> dict[str, Member]:
    """Members of a datapath that ends in a result queue of ``config.result_queue_depth`` slots.

    ``credit_available``: credits allow an issue that makes results. ``one_result_left``: only one result is in the
    pipeline or waiting. ``last_result_leaves``: this edge transfers it. ``results``: a beat of sums, or of int8.
    """
    return {
        "credit_available": Out(1),
        "one_result_left": Out(1),
        "last_result_leaves": Out(1),
        "results": Out(stream.Signature(results_layout(config))),
    }


def count_credits(m: Module, datapath: Component, taken: Value, transfer: Value) -> Signal:
    """The credits that are left, and the flags of ``datapath`` that follow; its config says how many credits there are.

    ``taken``: results that this edge's issue will make; ``transfer``: this edge transfers a result.
    """
    depth = datapath.config.result_queue_depth
    credits = Signal(range(depth + 1), init=depth)
    m.d.sync += credits.eq(credits - taken + transfer)
    m.d.comb += [
        datapath.one_result_left.eq(credits == depth - 1),
        datapath.last_result_leaves.eq(transfer & datapath.one_result_left),
    ]
    return credits
