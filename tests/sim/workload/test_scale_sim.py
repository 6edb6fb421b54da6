"""Claims: a SCALE-Sim configuration gives the array that it describes; what it cannot be is refused by field."""

import pytest

from hw.errors import InputError
from sim.job import SimJob
from sim.workload.scale_sim import read_config

CONFIG = """[general]
run_name = "edge_ws"

[architecture_presets]
ArrayHeight:    32
ArrayWidth:     16
IfmapSramSzkB:   64
FilterSramSzkB:  48
OfmapSramSzkB:   32
IfmapOffset:    0
Bandwidth : 10
Dataflow : ws

[run_presets]
InterfaceBandwidth: CALC
"""


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "run.cfg"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_lanes_buffers_and_dataflow(config):
    array = SimJob(array=str(config(CONFIG))).load_array()
    assert (array.name, array.rows, array.cols, array.organisation) == ("edge_ws", 32, 16, "tree")
    assert (array.activation_buffer_bytes, array.weight_buffer_bytes) == (96 * 1024, 48 * 1024)
    outputs = read_config(config(CONFIG.replace(": ws", ": os")))
    assert outputs.structure.outputs_stationary
    assert outputs.lanes == array.lanes


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("Dataflow : ws", "Dataflow : is", "Dataflow must be ws or os"),
        ("ArrayHeight:    32", "ArrayHeight: 0", "ArrayHeight must be a whole number from 1, not '0'"),
        ("ArrayHeight:    32", "ArrayHeight: 4096", "ArrayHeight must be at most 1024, not 4096"),
        ("ArrayWidth:     16\n", "", "ArrayWidth must be a whole number from 1, not ''"),
        ("Bandwidth", "Bandwith", "unknown field 'Bandwith'; did you mean"),
        ("[architecture_presets]", "[architecture]", "must be a SCALE-Sim configuration with architecture_presets"),
        ("FilterSramSzkB:  48", "FilterSramSzkB: 1", None),
    ],
)
def test_faults_are_named(config, old, new, part):
    assert old in CONFIG
    path = config(CONFIG.replace(old, new))
    if part is None:
        assert read_config(path).weight_buffer_bytes == 1024
        return
    with pytest.raises(InputError) as caught:
        read_config(path)
    assert part in str(caught.value)
