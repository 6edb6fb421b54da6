"""Vivado's constraints of a top with two clocks: what crosses is bounded by time, not by edges.

Ref: AMD UG903: an XDC file knows set, list and expr of Tcl and no more; bits of a Gray code must not be apart by more
than a period of the clock that they come from, which ``set_max_delay -datapath_only`` bounds.
"""

from hw.gateware.bus.crossing import CORE_CLOCK_PORT

__all__ = ["CONSTRAINTS_NAME", "CONSTRAINTS_SCRIPT", "constraint_files"]

CONSTRAINTS_NAME, CONSTRAINTS_SCRIPT = "tritforge_clocks.xdc", "tritforge_clocks.tcl"


def constraint_files(top: str) -> dict[str, str]:
    """The XDC file, whose scope is the module ``top``, and a script that adds it to a project, by name."""
    licence = "# SPDX-License-Identifier: Apache-2.0"
    return {
        CONSTRAINTS_NAME: f"""# Crossings between aclk and {CORE_CLOCK_PORT} of {top}, which is the scope of this file
{licence}
set bus [get_clocks -of_objects [get_ports aclk]]
set core [get_clocks -of_objects [get_ports {CORE_CLOCK_PORT}]]
set shorter [expr {{min([get_property PERIOD $bus], [get_property PERIOD $core])}}]
# Pointers in Gray code, levels of handshakes, and words of queues, which are written edges before they are read.
set_max_delay -datapath_only -from $bus -to $core $shorter
set_max_delay -datapath_only -from $core -to $bus $shorter
# The reset of a queue's other side is set at once, and released through two registers.
set_false_path -to [get_pins -hierarchical -filter {{NAME =~ *rst_cdc/stage*_reg/PRE}}]
set_property ASYNC_REG TRUE [get_cells -hierarchical -filter {{NAME =~ *_cdc/stage*_reg*}}]
""",
        CONSTRAINTS_SCRIPT: f"""# Adds {CONSTRAINTS_NAME} to a Vivado project, behind what makes the clocks
{licence}
read_xdc [file join [file dirname [file normalize [info script]]] {CONSTRAINTS_NAME}]
set_property SCOPED_TO_REF {top} [get_files {CONSTRAINTS_NAME}]
set_property PROCESSING_ORDER LATE [get_files {CONSTRAINTS_NAME}]
""",
    }
