"""What of microGPT's machine and number formats is a choice."""

from typing import Annotated

from pydantic import Field

from hw.config import load_array
from hw.document import Record
from hw.program.machine import MachineConfig, machine_around

__all__ = ["MachineChoice"]


class MachineChoice(Record):
    """What of the machine and of the number formats is a choice; the rest follows from the model's sizes."""

    array: str = Field("16x8", description="rows and columns of the array: a known array, RxC, or a .yaml file")
    lanes: int | None = Field(
        8, description="vector lanes, 32 bits of the memory port each; by default as few as the array allows"
    )
    latency: int = Field(
        3, description="edges from a request to memory's first word; block RAM behind the board's register takes 3"
    )
    key_digits: Annotated[int, Field(ge=1, le=5)] = Field(3, description="balanced-ternary digits of K")
    value_digits: Annotated[int, Field(ge=1, le=5)] = Field(3, description="balanced-ternary digits of V")
    table_digits: Annotated[int, Field(ge=1, le=5)] = Field(
        3, description="balanced-ternary digits of embedding and head"
    )

    @property
    def machine(self) -> MachineConfig:
        """The machine, with room for this model and little else.

        Raises:
            InputError: an array or lanes that no machine can have.
        """
        sizes = {"scratch_words": 512, "activation_words": 64, "row_registers": 4, "instruction_lines": 8}
        return machine_around(load_array(self.array), self.lanes, **sizes)

    @property
    def row(self) -> dict[str, str | int]:
        """The fields that every measured row has: machine, memory and digits."""
        formats = self.model_dump(include={"latency", "key_digits", "value_digits", "table_digits"})
        array = self.machine.array
        return {"array": f"{array.rows} x {array.cols}", "lanes": self.machine.lanes} | formats
