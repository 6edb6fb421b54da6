"""The machine compiled by Verilator writes the interpreter's tokens and leaves its memory, stalls or not."""

import numpy as np
import pytest

from hw.errors import InputError
from hw.program.interpreter import Interpreter, Status
from hw.simulation.verilated_machine import MachineStopped, VerilatedMachine, build_machine, generate
from tests.hw.gateware.whole.test_machine import image

pytestmark = pytest.mark.slow  # minutes of C++


@pytest.fixture(scope="module")
def built():
    program, model = image(layers=2, heads=4, kv_heads=2, machine={"scratch_words": 256, "activation_words": 64})
    try:
        return program, model, build_machine(program.machine)
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("latency", [1, 9])
@pytest.mark.parametrize("stalled", [False, True])
def test_tokens_and_memory_over_three_blocks(built, latency, stalled):
    program, _, path = built
    stalls = np.random.default_rng(latency).integers(0, 2, 997).astype(np.uint8).tobytes() if stalled else b""
    golden = Interpreter(program)
    with VerilatedMachine(program, path, latency, stalls) as machine:
        steps = generate(machine, [3, 1, 4], 36)
        assert [step.token for step in steps[2:]] == golden.write([3, 1, 4], 36)
        assert np.array_equal(machine.memory(), golden.memory.reshape(-1))
    assert not any(step.saturated for step in steps)
    assert [step.position for step in steps] == list(range(1, 39))
    assert [name for name, _ in steps[-1].trace].count("END") == 2 * 2 * 3


def test_it_stops_with_the_status_in_words(built):
    program, _, path = built
    with (
        VerilatedMachine(program, path) as machine,
        pytest.raises(MachineStopped, match=r"^the machine stopped with status 5: the token is beyond the vocabulary$"),
    ):
        machine.step(11)
    memory = program.memory.copy()
    memory[8] ^= 1
    with VerilatedMachine(program._replace(memory=memory), path) as machine, pytest.raises(MachineStopped) as stopped:
        machine.step(1)
    assert stopped.value.status == Status.OTHER_CONFIGURATION
