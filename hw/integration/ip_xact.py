"""An AXI top as an IP-XACT component, as Vivado's IP catalog reads it: interfaces, registers, files.

Ref: IEEE 1685-2009, whose schema it follows; the names of buses and signals are AMD's, Vivado UG1118.
"""

import re
from collections.abc import Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from amaranth import Shape
from amaranth.lib.wiring import In

from hw.artifact import tool_version
from hw.config import ArrayConfig
from hw.gateware.bus.constraints import CONSTRAINTS_NAME
from hw.gateware.bus.crossing import CORE_CLOCK_PORT
from hw.gateware.bus.dma import ADDRESS_BITS, WORD_BITS
from hw.gateware.bus.register_map import Register
from hw.integration.variant import Variant

__all__ = ["IP_VENDOR", "component_xml", "core_version"]

IP_VENDOR = "tritforge"
_SPIRIT = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"
_XILINX = "http://www.xilinx.com"
_STREAMS = {"s_axis_weights": "slave", "s_axis_activations": "slave", "m_axis_results": "master"}
_MASTERS = ("m_axi_weights", "m_axi_activations", "m_axi_results")
_REGISTERS = "s_axil"
_WINDOW_BYTES = 0x1000
_ACCESS = {"read": "read-only", "write": "write-only", "read and write": "read-write"}
_FAMILIES = ("zynq", "zynquplus", "artix7", "kintex7", "virtex7", "kintexu", "kintexuplus", "virtexuplus", "versal")
_FILE_SETS = {"synthesis": "xilinx_anylanguagesynthesis_view_fileset", "simulation": "xilinx_simulation_view_fileset"}


def core_version() -> str:
    """The program's version as IP catalogs have them: two numbers."""
    return ".".join([*re.findall(r"\d+", tool_version()), "0", "0"][:2])


def component_xml(config: ArrayConfig, variant: Variant, folder: str) -> str:
    """``component.xml`` of a top; ``folder``: path from there to its Verilog, and to constraints where it has any."""
    ElementTree.register_namespace("spirit", _SPIRIT)
    ElementTree.register_namespace("xilinx", _XILINX)
    members = variant.ports(config)
    ports = {name: (member.flow, Shape.cast(member.shape).width) for name, member in members.items()}
    root = Element(_tag("component"))
    identity = {"vendor": IP_VENDOR, "library": "ip", "name": variant.name, "version": core_version()}
    _texts(root, identity)
    _interfaces(_sub(root, "busInterfaces"), ports)
    if variant.masters:
        _address_spaces(_sub(root, "addressSpaces"))
    _memory_map(_sub(root, "memoryMaps"), variant.registers)
    model = _sub(root, "model")
    _views(_sub(model, "views"), variant.name)
    listed = _sub(model, "ports")
    for name, (flow, bits) in ports.items():
        _port(listed, name, flow is In, bits)
    sets = _sub(root, "fileSets")
    for name in _FILE_SETS.values():
        file_set = _sub(sets, "fileSet")
        _texts(file_set, {"name": name})
        for source in variant.sources:
            _texts(_sub(file_set, "file"), {"name": f"{folder}/{source}", "fileType": "verilogSource"})
    if variant.separate:
        listed_file = _sub(next(iter(sets)), "file")
        _texts(listed_file, {"name": f"{folder}/{CONSTRAINTS_NAME}", "userFileType": "xdc"})
        _texts(_sub(listed_file, "define"), {"name": "processing_order", "value": "late"})  # the clocks come before
    about = f"Ternary x int8 GEMM core, {config.rows} lanes x {config.cols} columns, array {config.sha256[:8]}"
    _texts(root, {"description": about})
    parameters = _sub(root, "parameters")
    _parameter(parameters, "Component_Name", variant.name)
    _catalog(_sub(_sub(root, "vendorExtensions"), "coreExtensions", _XILINX), config)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _tag(name: str, space: str = _SPIRIT) -> str:
    return f"{{{space}}}{name}"


def _sub(parent: Element, name: str, space: str = _SPIRIT) -> Element:
    return SubElement(parent, _tag(name, space))


def _texts(parent: Element, texts: Mapping[str, object]) -> None:
    """A child with a text for each entry."""
    for name, text in texts.items():
        _sub(parent, name).text = str(text)


def _interfaces(parent: Element, ports: Mapping[str, object]) -> None:
    """Registers, streams or masters, clock, reset and interrupt."""
    role = _interface(parent, _REGISTERS, "interface", "aximm", "slave", _members(_REGISTERS, ports))
    _sub(role, "memoryMapRef").set(_tag("memoryMapRef"), _REGISTERS)
    buses = [name for name in (*_STREAMS, *_MASTERS) if _members(name, ports)]
    for name in buses:
        if name in _STREAMS:
            _interface(parent, name, "interface", "axis", _STREAMS[name], _members(name, ports))
        else:
            role = _interface(parent, name, "interface", "aximm", "master", _members(name, ports))
            _sub(role, "addressSpaceRef").set(_tag("addressSpaceRef"), name)
    together = ":".join([_REGISTERS, *buses])
    _interface(
        parent, "aclk", "signal", "clock", "slave", {"CLK": "aclk"},
        {"ASSOCIATED_BUSIF": together, "ASSOCIATED_RESET": "aresetn"},
    )  # fmt: skip
    if CORE_CLOCK_PORT in ports:
        _interface(parent, CORE_CLOCK_PORT, "signal", "clock", "slave", {"CLK": CORE_CLOCK_PORT})
    _interface(parent, "aresetn", "signal", "reset", "slave", {"RST": "aresetn"}, {"POLARITY": "ACTIVE_LOW"})
    _interface(
        parent, "interrupt", "signal", "interrupt", "master", {"INTERRUPT": "interrupt"}, {"SENSITIVITY": "LEVEL_HIGH"}
    )


def _members(prefix: str, ports: Mapping[str, object]) -> dict[str, str]:
    """Physical ports of a bus by their logical names."""
    return {name.removeprefix(f"{prefix}_").upper(): name for name in ports if name.startswith(f"{prefix}_")}


def _interface(
    parent: Element, name: str, library: str, bus: str, mode: str, ports: Mapping[str, str],
    parameters: Mapping[str, str] | None = None,
) -> Element:  # fmt: skip
    """One bus interface of AMD's library; returns the element of its mode."""
    one = _sub(parent, "busInterface")
    _texts(one, {"name": name})
    for kind, suffix in (("busType", ""), ("abstractionType", "_rtl")):
        names = {"vendor": "xilinx.com", "library": library, "name": bus + suffix, "version": "1.0"}
        _sub(one, kind).attrib.update({_tag(field): value for field, value in names.items()})
    role = _sub(one, mode)
    maps = _sub(one, "portMaps")
    for logical, physical in ports.items():
        mapped = _sub(maps, "portMap")
        _texts(_sub(mapped, "logicalPort"), {"name": logical})
        _texts(_sub(mapped, "physicalPort"), {"name": physical})
    if parameters:
        held = _sub(one, "parameters")
        for parameter, value in parameters.items():
            _parameter(held, parameter, value)
    return role


def _parameter(parent: Element, name: str, value: str) -> None:
    _texts(_sub(parent, "parameter"), {"name": name, "value": value})


def _address_spaces(parent: Element) -> None:
    """What each master reaches: all that its addresses name."""
    for name in _MASTERS:
        space = _sub(parent, "addressSpace")
        _texts(space, {"name": name, "range": 1 << ADDRESS_BITS, "width": WORD_BITS})


def _memory_map(parent: Element, registers: tuple[Register, ...]) -> None:
    """Every register and field."""
    map_ = _sub(parent, "memoryMap")
    _texts(map_, {"name": _REGISTERS})
    block = _sub(map_, "addressBlock")
    _texts(block, {"name": "registers", "baseAddress": 0, "range": _WINDOW_BYTES, "width": 32, "usage": "register"})
    for register in registers:
        one = _sub(block, "register")
        access = _ACCESS[register.access]
        _texts(one, {"name": register.name, "description": register.meaning, "addressOffset": hex(register.offset)})
        _texts(one, {"size": 32, "access": access})
        for field in register.fields:
            described = {"name": field.name, "description": field.meaning, "bitOffset": field.low}
            _texts(_sub(one, "field"), described | {"bitWidth": field.bits, "access": access})


def _views(parent: Element, top: str) -> None:
    """The same Verilog for synthesis and simulation."""
    for kind, file_set in _FILE_SETS.items():
        view = _sub(parent, "view")
        _texts(view, {"name": f"xilinx_{'anylanguage' * (kind == 'synthesis')}{kind}"})
        _texts(view, {"envIdentifier": f":vivado.xilinx.com:{kind}", "language": "verilog", "modelName": top})
        _texts(_sub(view, "fileSetRef"), {"localName": file_set})


def _port(parent: Element, name: str, is_input: bool, bits: int) -> None:
    """A port of the top module."""
    one = _sub(parent, "port")
    _texts(one, {"name": name})
    wire = _sub(one, "wire")
    _texts(wire, {"direction": "in" if is_input else "out"})
    if bits > 1:
        _texts(_sub(wire, "vector"), {"left": bits - 1, "right": 0})
    # What a block design leaves open is tied off: every byte of a beat is kept, no access is protected.
    if name.endswith(("tkeep", "prot")) and is_input:
        _texts(_sub(wire, "driver"), {"defaultValue": hex((1 << bits) - 1) if name.endswith("tkeep") else 0})


def _catalog(parent: Element, config: ArrayConfig) -> None:
    """What Vivado's catalog shows, and for which parts."""
    families = _sub(parent, "supportedFamilies", _XILINX)
    for family in _FAMILIES:
        one = _sub(families, "family", _XILINX)
        one.set(_tag("lifeCycle", _XILINX), "Production")
        one.text = family
    taxonomies = _sub(parent, "taxonomies", _XILINX)
    _sub(taxonomies, "taxonomy", _XILINX).text = "/UserIP"
    _sub(parent, "displayName", _XILINX).text = f"Tritforge {config.rows} x {config.cols}"
    _sub(parent, "coreRevision", _XILINX).text = "1"
