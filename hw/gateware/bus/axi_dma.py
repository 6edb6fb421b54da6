"""The AXI top with DMA engines of its own: three AXI4 masters in the place of its streams."""

from amaranth import Cat, ClockDomain, ClockSignal, Module, ResetSignal, Signal
from amaranth.lib.wiring import Component, In, Member

from hw.arithmetic.adders import Cells
from hw.config import ArrayConfig
from hw.gateware.bus.axi import AxiCore, axi_ports
from hw.gateware.bus.dma import DmaReader, DmaWriter, read_members, write_members

__all__ = ["AxiDmaCore", "axi_dma_ports"]

_READ = ("weights", "activations")


def axi_dma_ports(config: ArrayConfig) -> dict[str, Member]:
    """Ports of the top by name: those of the AXI top, with masters instead of streams."""
    ports = {name: member for name, member in axi_ports(config).items() if "_axis_" not in name}
    for name in _READ:
        ports |= read_members(f"m_axi_{name}_")
    return ports | write_members("m_axi_results_")


class AxiDmaCore(Component):
    """``AxiCore`` whose packets lie in memory, where registers say (``DMA_REGISTER_MAP``).

    The engines start with the GEMM, and its end is told when memory has answered the last write. A fault of an engine
    ends the GEMM with ``dma_fault``; after that, ``control`` bit 1 resets core and engines.

    Members
    -------
    s_axil, interrupt : as of ``AxiCore``.
    m_axi_weights, m_axi_activations : AXI4 read masters of 64 bits; m_axi_results : a write master.
    ``outer_clock`` : as of ``AxiCore``.

    Raises
    ------
    InputError
        See ``AxiCore``.
    """

    def __init__(self, config: ArrayConfig, cells: Cells = "portable", outer_clock: bool = False):
        self.core = AxiCore(config, cells, dma=True, outer_clock=True)
        self.config, self.outer_clock = config, outer_clock
        super().__init__(axi_dma_ports(config))

    def elaborate(self, platform) -> Module:
        """An engine per stream."""
        m = Module()
        if not self.outer_clock:
            m.domains.sync = ClockDomain()
            m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
        m.submodules.core = core = self.core
        for name, member in axi_ports(self.config).items():
            if "_axis_" not in name:
                ours, theirs = getattr(self, name), getattr(core, name)
                m.d.comb += theirs.eq(ours) if member.flow is In else ours.eq(theirs)
        engines = {}
        for name in (*_READ, "results"):
            data = getattr(core, f"{'s' if name in _READ else 'm'}_axis_{name}_tdata")
            engines[name] = (DmaReader if name in _READ else DmaWriter)(len(data) // 8)
            m.submodules[f"{name}_engine"] = engine = engines[name]
            for port, member in (read_members() if name in _READ else write_members()).items():
                ours, theirs = getattr(self, f"m_axi_{name}_{port}"), getattr(engine, port)
                m.d.comb += theirs.eq(ours) if member.flow is In else ours.eq(theirs)
            halves = (getattr(core, f"dma_{name}_address_{half}") for half in ("low", "high"))
            m.d.comb += [
                engine.start.eq(core.starts),
                engine.stop.eq(core.stops),
                engine.address.eq(Cat(*halves)),
                engine.bytes.eq(getattr(core, f"dma_{name}_bytes")),
            ]
        for name in _READ:
            beat = engines[name].o
            data, keep, last, valid, ready = (
                getattr(core, f"s_axis_{name}_t{field}") for field in ("data", "keep", "last", "valid", "ready")
            )
            whole = Signal(name=f"{name}_whole")
            m.d.comb += [Cat(data, whole, last).eq(beat.payload), keep.eq(whole.replicate(len(keep)))]
            m.d.comb += [valid.eq(beat.valid), beat.ready.eq(ready)]
        m.d.comb += [
            engines["results"].i.payload.eq(core.m_axis_results_tdata),
            engines["results"].i.valid.eq(core.m_axis_results_tvalid),
            core.m_axis_results_tready.eq(engines["results"].i.ready),
            core.dma_busy.eq(Cat(engine.busy for engine in engines.values()).any()),
            core.dma_status[:3].eq(Cat(engine.error for engine in engines.values())),
            core.dma_status[4:7].eq(Cat(engine.unaligned for engine in engines.values())),
        ]
        return m
