"""The AXI top under Icarus with cocotbext-axi masters, and the refusal of arrays that its bus cannot carry."""

import gc

import pytest

from hw.config import ArrayConfig, load_array
from hw.errors import InputError
from hw.verilog import AXI_NAME, axi_verilog, write_verilog
from tests.hw.icarus import run_bench

ARRAYS = [
    ArrayConfig(name="4x3", rows=4, cols=3, weight_bus_bits=16, token_tile=4),
    ArrayConfig(name="5x2", rows=5, cols=2, chain_lanes=3, packing="5in8", weight_bus_bits=8, token_tile=3),
    ArrayConfig(name="4x2-int8", rows=4, cols=2, weight_bus_bits=16, token_tile=3, results="int8", sum_of_x=True),
    ArrayConfig(name="3x3-sums", rows=3, cols=3, weight_bus_bits=8, token_tile=3, planes=2, sum_of_x=True),
]


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
def test_software_and_dma_engines_can_use_it(config, tmp_path):
    source = tmp_path / f"{AXI_NAME}.v"
    source.write_text(axi_verilog(config))
    environment = {"TRITFORGE_ARRAY": config.model_dump_json(), "COCOTB_LOG_LEVEL": "WARNING"}
    run_bench([source], AXI_NAME, "tests.hw.gateware.bus.axi_bench", tmp_path, environment, tests=9)


def test_the_register_map_is_in_config_json(tmp_path):
    source, *_, description = write_verilog(load_array("2x2"), tmp_path, "axi")
    assert source.name == "tritforge_axi.v"
    assert '"status": 16' in description.read_text()


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")  # refused, so never used
def test_sums_wider_than_the_bus_are_refused():
    config = ArrayConfig(name="w", rows=2, cols=2, accumulator_bits=33)
    with pytest.raises(InputError, match=r"^array 'w': accumulator_bits must be at most 32 behind AXI, not 33$"):
        axi_verilog(config)
    gc.collect()  # the warning comes with the destruction


def test_an_unknown_top_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^top must be one of core, axi, axi-dma, not 'pci'$"):
        write_verilog(load_array("2x2"), tmp_path, "pci")
