"""Software in front of the registers of an AXI top, in cocotb: reset, words by name, flags."""

from collections.abc import Mapping, Sequence

from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from hw.gateware.bus.register_map import CONTROL_BITS, STATUS_BITS
from tests.hw.gateware.bus.clocks import start_clocks


class RegisterHost:
    """``names``: registers in order, a word each; ``reset``: what bus models of the same top take."""

    def __init__(self, dut, names: Sequence[str]):
        self.dut, self.names = dut, names
        start_clocks(dut)
        self.reset = {"reset": dut.aresetn, "reset_active_level": False}
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.aclk, **self.reset)

    async def start_up(self) -> None:
        """Three edges of reset."""
        self.dut.aresetn.value = 0
        for _ in range(3):
            await RisingEdge(self.dut.aclk)
        self.dut.aresetn.value = 1
        await RisingEdge(self.dut.aclk)

    async def write(self, name: str, value: int) -> AxiResp:
        answer = await self.registers.write(4 * self.names.index(name), value.to_bytes(4, "little"))
        return answer.resp

    async def read(self, name: str) -> int:
        answer = await self.registers.read(4 * self.names.index(name), 4)
        assert answer.resp == AxiResp.OKAY
        return int.from_bytes(answer.data, "little")

    async def control(self, *names: str) -> AxiResp:
        return await self.write("control", sum(1 << CONTROL_BITS[name] for name in names))

    async def flags(self, register: str, places: Mapping[str, int]) -> set[str]:
        """Names of the bits that are set."""
        word = await self.read(register)
        return {name for name, place in places.items() if word >> place & 1}

    async def status(self) -> set[str]:
        return await self.flags("status", STATUS_BITS)
