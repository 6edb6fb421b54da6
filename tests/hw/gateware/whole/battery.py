"""What a correct machine passes and every seeded fault must fail: values, cycles, statuses. Run as a module."""

from unittest.mock import patch

import numpy as np

from hw.program.interpreter import Status
from hw.token.attention import AttentionFormat
from sim.token.cycles import TokenCycles
from tests.hw.gateware.whole.bench import Bench
from tests.hw.gateware.whole.test_machine import changed, damaged, image

__all__ = ["judge"]

_FORM = AttentionFormat(5, 3, True, 16)
_LOWER = 15  # octaves by which the stored scales of a table are moved, its logits being what they were


def _cases():
    """Program, position, and tokens with whether the next one is wanted, of each case."""
    # the second block has one token, and begins with it; rotated, queries that share K and V, few digits of V
    yield _program(form=_FORM, context=24, head_dim=16, embedding="tiles"), 16, [(7, True)]
    # three blocks, no rotation, heads of several folds, parts, 4 lanes; K, V of the token behind a tile's first word,
    # whose row lies in packed tiles: the second column tile, a later column of a beat, planes at other ones of five
    yield (
        _program(
            array="8x16", lanes=4, form=AttentionFormat(4, 5, False, 16), head_dim=24, hidden=32, intermediate=48,
            kv_heads=2, parts=2, seed=8, context=64, vocabulary=30, embedding="tiles", weight_packing="5in8",
        ),
        45, [(26, True)],
    )  # fmt: skip
    # the only token's score is negative: a row's maximum begins below it
    yield _program(form=AttentionFormat(5, 3, True, 8), seed=4), 0, [(0, True)]
    # rows whose scan takes longer than the division that it goes beside, one of them while numbers still drain
    yield _program(form=AttentionFormat(5, 3, True, 32), heads=3), 31, [(3, True)]
    # the stored scale of K rounds up to the next octave; a prompt, whose second token begins behind the constants
    yield _program(form=_FORM, seed=463), 0, [(0, False), (0, True)]
    # GEMMs of 8 outputs: a table in two, whose largest logit is negative and in the first; scales around 2**16
    with patch("hw.program.compiler.CHUNK", 8):
        program = _program(form=_FORM, seed=1029, vocabulary=9)
    yield _lowered(program), 0, [(2, True)]


def _program(weight_packing="2bit", **fields):
    sizes = {"scratch_words": 256, "activation_words": 64}
    return image(machine=sizes | {"weight_packing": weight_packing}, **fields)[0]


def _lowered(program):
    """The same logits of stored scales whose exponents are on both sides of 16."""
    for number, one in enumerate(program.program()):
        if one.operation == "ARGMAX":
            program = changed(program, number, "first", one["first"] - _LOWER)
    memory = program.memory.copy()
    for name, (word, words) in program.regions.items():
        if name.startswith("head rows") and name.endswith("scales"):
            size = program.machine.word_bytes
            scales = memory[word * size : (word + words) * size].view("<u2")
            scales[scales > 0] -= _LOWER << 11
    return program._replace(memory=memory)


def judge():
    """Raise an AssertionError at the first difference."""
    for program, position, tokens in _cases():
        stalls = np.random.default_rng(1).integers(0, 2, 2000)
        bench = Bench(program, 3, stalls, position=position)
        bench.golden.memory[-40:] = 0x5D  # what lies behind the context does not matter
        bench.memory[-40:] = 0x5D
        bench.run(tokens, 25_000)
        assert bench.status == Status.OK
        assert bench.answers == [bench.golden.best_id]
        cycles = TokenCycles(program, 3, np.concatenate([stalls, np.ones(60_000, np.int64)]).astype(np.uint8).tobytes())
        if position:
            cycles.seek(position)
        expected = [one.cycles for _, wanted in tokens for one in cycles.step(wanted)]
        assert [count for _, count in bench.trace] == expected
    program, _ = image()
    for broken in (changed(program, 0, "address", program.header.memory_words), damaged(program, 32 * 4 + 31, 0x80)):
        bench = Bench(program)
        bench.compare = False
        bench.memory.reshape(-1)[: len(broken.memory)] = broken.memory
        bench.run([(1, True)], 10_000)
        assert bench.status in (Status.OUTSIDE_MEMORY, Status.UNKNOWN_INSTRUCTION)


if __name__ == "__main__":
    judge()
