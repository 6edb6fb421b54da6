"""What a module of a top level takes is told of the block that it belongs to, and of no other."""

from amaranth import Module, Signal
from amaranth.back import rtlil

from hw.boards.top import TOP_NAME
from hw.boards.whole.blocks import top_blocks

BITS = {"": 3, "receiver": 4, "memory": 5, "link": 6, "link.core": 7, "link.core.vector": 8, "link.core.core": 9}


def test_each_modules_flip_flops_are_counted_once_in_its_block(tmp_path):
    """Counters in modules called as those of a machine's top level."""
    modules = {path: Module() for path in BITS}
    counters = {path: Signal(bits, name=f"count{bits}") for path, bits in BITS.items()}
    for path, module in modules.items():
        module.d.sync += counters[path].eq(counters[path] + 1)
        above, _, name = path.rpartition(".")
        if path:
            modules[above].submodules[name] = module
    (tmp_path / "top.il").write_text(rtlil.convert(modules[""], name=TOP_NAME, ports=[*counters.values()]))
    sizes = top_blocks(tmp_path, "ecp5")
    assert {name: found["flip_flops"] for name, found in sizes.items()} == {
        "array with weight tiles": 9,
        "vector unit": 8,
        "activation buffer": 0,
        "program, memory reader, unpacker": 7,
        "protocol, host's access to memory": 6,
        "memory and its pads": 5,
        "serial line, clock": 3 + 4,
    }
