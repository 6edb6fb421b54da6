"""The memory image of a program: header, instructions, weights and constants, and room for K and V behind them.

Word 0 holds the header; the instructions follow it. Everything is little-endian; a region begins with a memory word.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hw.artifact import sha256_file, write_text
from hw.errors import InputError
from hw.program.instructions import Instruction, decode, disassembled
from hw.program.machine import INSTRUCTION_BITS, MachineConfig

__all__ = ["CONFIG_FILE", "HEADER_FIELDS", "IMAGE_FILE", "MAGIC", "Header", "Image", "config_tag", "load_image"]

MAGIC = int.from_bytes(b"TFW1", "little")
IMAGE_FILE, LISTING_FILE, CONFIG_FILE = "image.bin", "program.txt", "config.json"
_INSTRUCTION_BYTES = INSTRUCTION_BITS // 8

# Field, low bit, bits; a header is as long as an instruction.
HEADER_FIELDS: dict[str, tuple[int, int]] = {
    "magic": (0, 32),
    "config": (32, 64),
    "instructions": (96, 24),
    "memory_words": (120, 32),
    "block_bits": (152, 5),
    "context": (160, 20),
    "vocabulary": (180, 20),
    "entry": (200, 24),
}


class Header(NamedTuple):
    """What a machine reads first. ``config``: the first 64 bits of its configuration's hash."""

    config: int
    instructions: int
    memory_words: int
    block_bits: int  # tokens of a block of the softmax: 2**block_bits
    context: int  # tokens that K and V have room for
    vocabulary: int
    entry: int = 0  # instruction that tokens behind the first one begin with: those in front of it run once
    magic: int = MAGIC

    def encoded(self) -> bytes:
        """The header's bytes."""
        word = sum(getattr(self, name) << low for name, (low, _) in HEADER_FIELDS.items())
        return word.to_bytes(_INSTRUCTION_BYTES, "little")

    @classmethod
    def of(cls, data: bytes) -> "Header":
        """The header at the start of an image.

        Raises:
            InputError: data that are no image.
        """
        word = int.from_bytes(data[:_INSTRUCTION_BYTES], "little")
        header = cls(**{name: word >> low & (1 << bits) - 1 for name, (low, bits) in HEADER_FIELDS.items()})
        if len(data) < _INSTRUCTION_BYTES or header.magic != MAGIC:
            raise InputError("image must begin with the bytes TFW1: it is no program of a whole-token machine")
        return header


def config_tag(machine: MachineConfig) -> int:
    """What a header says of the machine that its program is for."""
    return int(machine.sha256[:16], 16)


class Image(NamedTuple):
    """A program and everything it reads. ``memory``: uint8, without the room for K and V, which begins as zeros."""

    machine: MachineConfig
    memory: np.ndarray
    regions: dict[str, tuple[int, int]]  # by name: first memory word, words

    @property
    def header(self) -> Header:
        """The header in the memory."""
        return Header.of(self.memory[:_INSTRUCTION_BYTES].tobytes())

    def program(self) -> list[Instruction]:
        """The instructions in the memory.

        Raises:
            InputError: bits that are no instruction.
        """
        found, header = [], self.header
        for number in range(header.instructions):
            at = (1 + number) * _INSTRUCTION_BYTES
            try:
                found.append(decode(int.from_bytes(self.memory[at : at + _INSTRUCTION_BYTES].tobytes(), "little")))
            except InputError as error:
                raise InputError(f"instruction {number}: {error}") from None
            if found[-1]["packed"] and not self.machine.unpacks:
                raise InputError(
                    f"instruction {number}: packed must be 0 on a machine with weight_packing "
                    f"{self.machine.weight_packing}, not 1"
                )
        return found

    def check(self) -> Header:
        """Refuse an image that this machine cannot run.

        Raises:
            InputError: of another configuration, or one that lacks instructions.
        """
        header, machine = self.header, self.machine
        if header.config != config_tag(machine):
            raise InputError(
                f"program must be for this machine (configuration {config_tag(machine):016x}), "
                f"not for {header.config:016x}: compile it again for this array"
            )
        if header.memory_words * machine.word_bytes > machine.max_bytes:
            raise InputError(f"memory must be at most {machine.max_bytes} bytes, not {header.memory_words} words")
        if header.entry >= header.instructions:
            raise InputError(
                f"entry of the header must be below {header.instructions} instructions, not {header.entry}"
            )
        if len(self.memory) < (1 + header.instructions) * _INSTRUCTION_BYTES:
            raise InputError(
                f"image must hold {header.instructions} instructions, not {len(self.memory)} bytes: it is truncated"
            )
        return header

    def listing(self) -> str:
        """The program in words, a line per instruction with its number."""
        lines = [f"{number:5} {disassembled(one)}" for number, one in enumerate(self.program())]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path, **about: Any) -> list[Path]:
        """Write image, program in words, and ``config.json`` into ``folder``; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        image, listing, config = (folder / name for name in (IMAGE_FILE, LISTING_FILE, CONFIG_FILE))
        image.write_bytes(self.memory.tobytes())
        write_text(listing, self.listing())
        document = {
            "schema": "tritforge.program.1",
            "machine": self.machine.model_dump(mode="json"),
            "configuration": f"{config_tag(self.machine):016x}",
            "image": {"bytes": len(self.memory), "sha256": sha256_file(image)},
            "regions": {name: {"word": word, "words": words} for name, (word, words) in self.regions.items()},
            **about,
        }
        write_text(config, json.dumps(document, indent=1) + "\n")
        return [image, listing, config]


def load_image(folder: Path) -> Image:
    """The program that ``tritforge program`` wrote into ``folder``.

    Raises:
        InputError: a file is missing, truncated, changed, or of another configuration.
    """
    try:
        document = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        data = (folder / IMAGE_FILE).read_bytes()
        machine = MachineConfig.model_validate(document["machine"])
        expected, regions = document["image"], document["regions"]
        size, digest = int(expected["bytes"]), str(expected["sha256"])
        places = {name: (int(place["word"]), int(place["words"])) for name, place in regions.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder}: must hold {IMAGE_FILE} and {CONFIG_FILE} of `tritforge program` ({type(error).__name__})"
        ) from None
    if len(data) != size:
        raise InputError(f"{folder / IMAGE_FILE}: must be {size} bytes as {CONFIG_FILE} says, not {len(data)}")
    if sha256_file(folder / IMAGE_FILE) != digest:
        raise InputError(f"{folder / IMAGE_FILE}: must have the hash that {CONFIG_FILE} says; it has been changed")
    image = Image(machine, np.frombuffer(data, np.uint8), places)
    image.check()
    return image
