"""The Tritforge AXI top as a LiteX module: registers on the SoC's bus, packets by DMA out of its memory.

    from tritforge_litex import TritforgeAccelerator

    self.tritforge = TritforgeAccelerator(platform)
    self.tritforge.add_to(self, "tritforge", origin=0x30000000)

Registers stand at ``origin`` (tritforge_registers.h). CSRs ``tritforge_weights_*``, ``tritforge_activations_*`` and
``tritforge_results_*`` say where the packets lie: base and length in bytes, whole words of the bus, and for the two
that are read the beats of the packet; then enable, which must be 0 between two packets. It needs LiteX 2024.12 or
newer, and this folder: tritforge_axi.v and config.json.

SPDX-License-Identifier: Apache-2.0
"""

import json
from math import gcd
from pathlib import Path
from typing import NamedTuple

from litex.gen import LiteXModule
from litex.soc.cores.dma import WishboneDMAReader, WishboneDMAWriter
from litex.soc.integration.soc import SoCRegion
from litex.soc.interconnect import axi, stream, wishbone
from litex.soc.interconnect.csr import CSRStorage
from litex.soc.interconnect.csr_eventmanager import EventManager, EventSourceProcess
from migen import ClockSignal, Constant, If, Instance, ResetSignal, Signal

__all__ = ["TritforgeAccelerator"]

TOP = "tritforge_axi"
ADDRESS_BITS = 7  # of the register window
REGION_BYTES = 0x1000
FOLDER = Path(__file__).parent


class TritforgeAccelerator(LiteXModule):
    """The core with an AXI4-Lite port ``bus``, streams ``weights``, ``activations`` and ``results``, and an event.

    ``folder`` holds tritforge_axi.v and config.json, as they were written together. ``core_domain``: the clock domain
    of the core, where it was written with ``--core-clock separate``.
    """

    def __init__(self, platform, folder=FOLDER, core_domain="sys"):
        document = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        self.config = document["array"]
        value_bits = 8 if self.config["results"] == "int8" else 32
        values = self.config["cols"] + (self.config["sum_of_x"] and value_bits == 32)
        self.bus = axi.AXILiteInterface(data_width=32, address_width=32)
        self.weights = stream.Endpoint([("data", self.config["weight_bus_bits"])])
        self.activations = stream.Endpoint([("data", 8 * self.config["rows"])])
        self.results = stream.Endpoint([("data", value_bits * values)])
        interrupt = Signal()
        self.ev = EventManager()
        self.ev.done = EventSourceProcess(edge="rising")
        self.ev.finalize()
        self.comb += self.ev.done.trigger.eq(interrupt)
        ports = {"i_aclk": ClockSignal("sys"), "i_aresetn": ~ResetSignal("sys"), "o_interrupt": interrupt}
        if document.get("core_clock") == "separate":
            ports["i_core_clk"] = ClockSignal(core_domain)
        for channel, payload in (("aw", "addr"), ("w", "data"), ("ar", "addr")):
            endpoint = getattr(self.bus, channel)
            word = getattr(endpoint, payload)
            ports |= {
                f"i_s_axil_{channel}{payload}": word[:ADDRESS_BITS] if payload == "addr" else word,
                f"i_s_axil_{channel}valid": endpoint.valid,
                f"o_s_axil_{channel}ready": endpoint.ready,
            }
        ports |= {
            "i_s_axil_awprot": Constant(0, 3),
            "i_s_axil_arprot": Constant(0, 3),
            "i_s_axil_wstrb": self.bus.w.strb,
        }
        for channel in ("b", "r"):
            endpoint = getattr(self.bus, channel)
            ports |= {
                f"o_s_axil_{channel}resp": endpoint.resp,
                f"o_s_axil_{channel}valid": endpoint.valid,
                f"i_s_axil_{channel}ready": endpoint.ready,
            }
        ports["o_s_axil_rdata"] = self.bus.r.data
        for name in ("weights", "activations"):
            ports |= _ports(f"s_axis_{name}", getattr(self, name), "i", "o")
            ports[f"i_s_axis_{name}_tkeep"] = 2 ** (len(getattr(self, name).data) // 8) - 1
        ports |= _ports("m_axis_results", self.results, "o", "i")
        ports["o_m_axis_results_tkeep"] = Signal(len(self.results.data) // 8)
        self.specials += Instance(TOP, **ports)
        for path in sorted(Path(folder).glob("tritforge_*.v")):  # the top, and modules of its memories where it has any
            platform.add_source(str(path))

    def add_to(self, soc, name, origin=None):
        """Put the registers at ``origin`` and three DMA engines on the bus of ``soc``; an interrupt with a CPU."""
        region = SoCRegion(origin=origin, size=REGION_BYTES, cached=False)
        soc.bus.add_slave(name, self.bus, region)
        for stream_name in ("weights", "activations"):
            reader = _Reader(soc, getattr(self, stream_name))
            setattr(self, f"{stream_name}_dma", reader)
            self._share(reader, stream_name, "beats")
            soc.bus.add_master(f"{name}_{stream_name}", master=reader.bus)
        self.results_dma = writer = _Writer(soc, self.results)
        self._share(writer, "results")
        soc.bus.add_master(f"{name}_results", master=writer.bus)
        if soc.irq.enabled:
            soc.irq.add(name)

    def _share(self, engine, name, *more):
        """CSRs of an engine under this module's name."""
        for field, bits in (("base", 32), ("length", 32), *((field, 32) for field in more), ("enable", 1)):
            storage = CSRStorage(bits, name=f"{name}_{field}")
            setattr(self, f"_{name}_{field}", storage)
            self.comb += getattr(engine, field).eq(storage.storage)


class _Reader(LiteXModule):
    """Bus words of memory as one packet of ``beats`` beats: TLAST on the last, what follows in its word is dropped."""

    def __init__(self, soc, sink):
        self.bus = _master(soc)
        # LiteX calls the order that leaves the bytes of a word where they are "big".
        self.engine = engine = WishboneDMAReader(self.bus, endianness="big")
        engine.add_ctrl()
        self.beats = Signal(32)
        self.base, self.length, self.enable = engine.base, engine.length, engine.enable
        converter = _converter(self, soc.bus.data_width, len(sink.data))
        sent = Signal(32)
        beyond = Signal()
        self.comb += [
            engine.source.connect(converter.sink),
            beyond.eq(sent == self.beats),
            sink.data.eq(converter.source.data),
            sink.valid.eq(converter.source.valid & ~beyond),
            sink.last.eq(sent == self.beats - 1),
            converter.source.ready.eq(sink.ready | beyond),
        ]
        self.sync += If(~self.enable, sent.eq(0)).Elif(sink.valid & sink.ready, sent.eq(sent + 1))


class _Writer(LiteXModule):
    """One packet into memory; the last word is filled up with what happens to be there."""

    def __init__(self, soc, source):
        self.bus = _master(soc)
        self.engine = engine = WishboneDMAWriter(self.bus, endianness="big")
        engine.add_ctrl(ready_on_idle=0)
        self.base, self.length, self.enable = engine.base, engine.length, engine.enable
        converter = _converter(self, len(source.data), soc.bus.data_width)
        self.comb += [source.connect(converter.sink), converter.source.connect(engine.sink)]


def _converter(module, sink_bits, source_bits):
    """From one width to another, the first bytes in the lowest bits; by their common divisor where neither divides."""
    common = gcd(sink_bits, source_bits)
    module.narrow = stream.Converter(sink_bits, common)
    module.wide = stream.Converter(common, source_bits)
    module.comb += module.narrow.source.connect(module.wide.sink)
    return _Ends(module.narrow.sink, module.wide.source)


class _Ends(NamedTuple):
    """The two ends of a chain of converters."""

    sink: stream.Endpoint
    source: stream.Endpoint


def _master(soc):
    """A Wishbone interface as wide as the SoC's bus."""
    return wishbone.Interface(
        data_width=soc.bus.data_width, adr_width=soc.bus.get_address_width(standard="wishbone"), addressing="word"
    )


def _ports(prefix, endpoint, forward, backward):
    """Instance ports of an AXI4-Stream."""
    fields = {"tdata": endpoint.data, "tvalid": endpoint.valid, "tlast": endpoint.last}
    return {f"{forward}_{prefix}_{name}": signal for name, signal in fields.items()} | {
        f"{backward}_{prefix}_tready": endpoint.ready
    }
