"""Names on the compiled machine, one for every first letter, each token compared with the integer model's."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from quant.microgpt.names import END, decoded, encoded
from quant.microgpt.sizes import CONTEXT
from sim.token.cycles import InstructionCycles, TokenCycles
from sim.token.demo import compare_cycles

if TYPE_CHECKING:
    from hw.simulation.verilated_machine import VerilatedMachine
    from quant.token.program import ModelProgram

__all__ = ["Name", "integer_name", "simulated_names", "verilated_names"]


class Name(NamedTuple):
    """A name as it was written, and the cycles of every token, the first (END) included."""

    text: str
    tokens: list[list[InstructionCycles]]


def integer_name(program: "ModelProgram", letter: str) -> list[int]:
    """Tokens behind END and a letter in the integer model: up to the next END, or as many as the context has."""
    prompt, found = encoded(f".{letter}"), list[int]()
    for token in program.stream(prompt, CONTEXT - len(prompt)):
        found.append(token)
        if token == END:
            break
    return found


def simulated_names(program: "ModelProgram", letters: Sequence[str], latency: int) -> Iterator[Name]:
    """The names of the integer model with the cycles of the simulator alone."""
    cycles = TokenCycles(program.image, latency)
    for letter in letters:
        tokens = integer_name(program, letter)
        timed = [cycles.step(number > 0) for number in range(1 + len(tokens))]
        cycles.seek(0)
        yield Name(letter + decoded(tokens).removesuffix("."), timed)


def verilated_names(
    program: "ModelProgram", core: "VerilatedMachine", letters: Sequence[str], latency: int, say: Callable[[str], None]
) -> Iterator[Name]:
    """The names of the machine, one behind the other on one memory; ``say`` gets the letters as they come.

    Raises:
        RuntimeError: a token differs from the integer model's, or an instruction's cycles from the simulator's.
    """
    cycles = TokenCycles(program.image, latency)
    for letter in letters:
        fed, timed, expected = encoded(f".{letter}"), list[list[InstructionCycles]](), integer_name(program, letter)
        say(letter)
        for number in range(1 + len(expected)):
            wanted = number > 0
            step, predicted = core.step(fed[number], wanted), cycles.step(wanted)
            compare_cycles(number, step.trace, predicted)
            timed.append(predicted)
            if wanted:
                if step.token != expected[number - 1]:
                    raise RuntimeError(
                        f"name {letter}, token {number} is {step.token} on the RTL, "
                        f"{expected[number - 1]} in the integer model"
                    )
                fed.append(step.token)
                say(decoded([step.token]))
        core.seek(0)
        cycles.seek(0)
        say(" ")
        yield Name(letter + decoded(expected).removesuffix("."), timed)
