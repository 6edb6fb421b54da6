"""The front's addresses and sizes at the ends of their fields, which no program of a small model reaches."""

import random

import pytest
from amaranth.sim import Simulator

from hw.config import load_array
from hw.gateware.whole import front
from hw.gateware.whole.front import Front
from hw.gateware.whole.ports import ADDRESS_BITS
from hw.program.image import Header, config_tag
from hw.program.instructions import FIELDS, OPERATIONS, Instruction, encode
from hw.program.machine import LINE_INSTRUCTIONS, machine_around
from tests.hw.seeded import mutated

_LAST = (1 << 20) - 1  # token
_LATE = (1 << 20) - 40  # position, in a block that is not full


def drawn(rng, name):
    """An instruction with the ends of its fields more often than other values."""
    fields = [field for field in OPERATIONS[name].fields if field not in ("last_only", "packed")]
    low = {field: -(1 << FIELDS[field].bits - 1) if FIELDS[field].signed else 0 for field in fields}
    ends = {field: (low[field], low[field] + (1 << FIELDS[field].bits) - 1) for field in fields}
    values = {field: rng.choice([*end, end[1], rng.randint(*end)]) for field, end in ends.items()}
    kinds = {field: rng.randint(*ends[field]) for field in ("index", "by_block", "by_lanes") if field in fields}
    return Instruction(name, values | kinds)


def played(dut, program, token, position, block_bits):
    """What the front has ready, instruction by instruction, until STOP."""
    machine, found = dut.machine, []
    header = Header(config_tag(machine), len(program), 1 << 20, block_bits, _LAST, _LAST)
    code = [int.from_bytes(header.encoded(), "little"), *map(encode, program)]
    bits, parts = machine.array.weight_bus_bits, machine.instruction_words
    memory = [word >> bits * part & (1 << bits) - 1 for word in code for part in range(parts)]
    memory += [0] * (2 * LINE_INSTRUCTIONS * parts)  # of the last line

    async def bench(ctx):
        ctx.set(dut.free, 1)
        ctx.set(dut.token, token)
        ctx.set(dut.position, position)
        ctx.set(dut.start, 1)
        ctx.set(dut.take, 1)
        while not (found and found[-1]["operation"] == OPERATIONS["STOP"].code):
            assert not ctx.get(dut.status)
            if ctx.get(dut.ready):
                names = ("block", "visible", "base", "n", "k", "folds", "bursts", "burst_words")
                taken = {name: ctx.get(getattr(dut, name)) for name in names}
                found.append(taken | {"operation": ctx.get(dut.instruction.operation)})
            asked = ctx.get(dut.ask)
            address, count = ctx.get(dut.address), ctx.get(dut.count)
            await ctx.tick()
            for left in reversed(range(count if asked else 0)):
                ctx.set(dut.word, memory[address + count - 1 - left])
                ctx.set(dut.valid, 1)
                ctx.set(dut.done, not left)
                await ctx.tick()
            ctx.set(dut.valid, 0)
            ctx.set(dut.done, 0)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def wanted(machine, one, token, position, block, block_bits):
    """The same from the sentences of the fields."""
    rows, cols, tile = machine.array.rows, machine.array.cols, machine.tile_words
    begin = one.begin(machine.lanes, token, position, block)
    if one.operation == "KV":
        begin = one["address"] + (0 if one["by_lanes"] else one["stride"] * (position // cols))
    if one.operation == "ROW":
        begin = one["skip"] + token % cols // (cols // tile) + one["beats"] * (token // cols)
    left = min(position + 1 - (block << block_bits), 1 << block_bits)
    visible = -(-left // machine.stretch) * machine.stretch
    by_block, by_lanes = one["by_block"], one["by_lanes"]
    n, k = (visible if by_block and by_lanes == lane else one[name] for lane, name in enumerate("nk"))
    folds, tiles = -(-k // rows), -(-n // cols) * one["planes"]
    words = one["burst"] if "burst" in OPERATIONS[one.operation].fields else folds * tile * (1 if by_lanes else tiles)
    bursts, whole = tiles if by_lanes else 1, 1 << ADDRESS_BITS
    sizes = {"n": n, "k": k, "folds": folds, "bursts": bursts % (1 << 16), "burst_words": words % whole}
    known = {"block": block, "visible": visible, "base": begin % whole}
    return known | (sizes if "planes" in OPERATIONS[one.operation].fields and one.operation != "KV" else {})


def compared(block, array, lanes, token, position, block_bits):
    """Every instruction of a program that goes through all blocks of the context, against the sentences."""
    machine, rng = machine_around(load_array(array), lanes), random.Random(position)
    body = [name for name in ("LOAD", "KV", "ROW", "SCORE", "OACC", "DEQ", "ARGMAX") for _ in range(4)]
    program = [*(drawn(rng, name) for name in body), Instruction("END", {}), Instruction("STOP", {})]
    found = played(block(machine), program, token, position, block_bits)
    order = [(number, one) for number in range((position >> block_bits) + 1) for one in program[:-1]]
    assert len(found) == len(order) + 1
    for (number, one), real in zip(order, found[:-1], strict=True):
        expected = wanted(machine, one, token, position, number, block_bits)
        assert {name: real[name] for name in expected} == expected, (one, number)


@pytest.mark.parametrize(("array", "lanes"), [("8x8", 2), ("16x8", 4), ("16x32", 8)])
@pytest.mark.parametrize(
    ("token", "position", "block_bits"), [(_LAST, _LATE, 15), (1 << 19, 1 << 14, 13), (_LAST - 2, 200, 6)]
)
def test_addresses_and_sizes_are_those_of_the_fields(array, lanes, token, position, block_bits):
    compared(Front, array, lanes, token, position, block_bits)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("near + (far << _FACTOR_BITS)", "near"),
        ("far.eq(a_high * b + a * b_high)", "far.eq(a_high * b)"),
        ("far.eq(a_high * b + a * b_high)", "far.eq(a * b_high)"),
        ("fold_bits, column_bits = 17 -", "fold_bits, column_bits = 16 -"),
        ("17 - log2(array.cols)  #", "16 - log2(array.cols)  #"),
        ("tiles * folds) << per_tile", "tiles) << per_tile"),
        ("left.eq(self.position + 1 - before)", "left.eq(self.position + 1)"),
    ],
)
def test_a_mutated_copy_is_found(old, new):
    copy = mutated(front, old, new)
    with pytest.raises(AssertionError):
        compared(copy["Front"], "8x8", 2, _LAST, _LATE, 15)
