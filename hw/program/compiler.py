"""The compiler: a ``TokenModel`` becomes a memory image and a program for one machine, the same for every token."""

import numpy as np

from hw.division import ceil_divide
from hw.errors import InputError
from hw.program.emitter import Emitter
from hw.program.image import Header, Image, config_tag
from hw.program.instructions import INDICES, encode
from hw.program.layout import EMBEDDINGS, Kept, rows_of, table_chunk
from hw.program.machine import INSTRUCTION_BITS, MachineConfig
from hw.program.memory import int_words, packed_words
from hw.token.decoder import FRACTION, Layer
from hw.token.digits import to_digits
from hw.token.formats import FACTOR_BITS, OPERAND_BITS
from hw.token.hadamard import block_size
from hw.token.model import TokenModel
from hw.token.table import HEAD_LIMIT, Table, logit_exponents

__all__ = ["compiled"]

CHUNK = 1024  # outputs of one GEMM at most: their stored scales wait in scratch memory


def compiled(model: TokenModel, machine: MachineConfig, embedding: str = "rows") -> Image:
    """Image and program of a model, for as many tokens as its RoPE table has rows.

    ``embedding``: "rows" keeps the embedding table as int8, a row a burst; "tiles" as the digits that the head's table
    has, in weight tiles, which are the head's own where both tables are one.

    Raises:
        InputError: sizes that the machine has no room for, with the numbers.
    """
    if embedding not in EMBEDDINGS:
        raise InputError(f"embedding must be one of {', '.join(EMBEDDINGS)}, not {embedding!r}")
    return _Compiler(model, machine, embedding == "tiles").image()


class _Compiler(Emitter):
    """One token's path through a model."""

    def __init__(self, model: TokenModel, machine: MachineConfig, tiles: bool):
        self.tiles, self.table_chunk = tiles, table_chunk(machine, CHUNK) if tiles else CHUNK
        super().__init__(model, machine, CHUNK, max(CHUNK, self.table_chunk))
        self._emit_all()
        self.resident = self.top <= machine.scratch_words
        self._again(0, 0)  # to measure code and data, then with every region in its place
        first = (1 + len(self.once) + len(self.program)) * machine.instruction_words
        self._again(first, len(self.once))

    def image(self) -> Image:
        """The memory with header and program in it."""
        memory, machine, program = self.memory, self.machine, [*self.once, *self.program]
        header = Header(
            config=config_tag(machine),
            instructions=len(program),
            memory_words=memory.words,
            block_bits=self.block.bit_length() - 1,
            context=len(self.model.rotary),
            vocabulary=len(self.model.embedding.weights),
            entry=len(self.once),
        )
        size = INSTRUCTION_BITS // 8
        code = header.encoded() + b"".join(encode(one).to_bytes(size, "little") for one in program)
        return Image(machine, memory.data(code), memory.regions)

    def _again(self, first: int, entry: int) -> None:
        """Emit anew, data from memory word ``first`` on, the program behind ``entry`` instructions that run once."""
        self.restart(first, entry)
        self._emit_all()

    def _emit_all(self) -> None:
        self._embedding()
        for number, layer in enumerate(self.model.layers):
            self.layer = number
            self._attention(layer)
            self._mlp(layer)
        self._head()
        self.emit("STOP")

    def _embedding(self) -> None:
        """EMB in two instructions: products by row and channel, then the mean row."""
        table, at = self.model.embedding, self.at
        self._row_of_tiles(table) if self.tiles else self._row_of_integers(table)
        spread = self.constant("channel spread", table.spread, "int16")
        self.emit(
            "EMB", source=at.sum, second=spread, destination=at.x, words=self.machine.words(self.hidden),
            row_scale=at.rotary, first=table.first, shift=table.second,
        )  # fmt: skip
        self.add(at.x, self.constant("mean row", table.mean, "int32"), at.x)
        rows = self.model.rotary.transpose(0, 2, 1).reshape(len(self.model.rotary), -1)  # cosine, sine, cosine, ...
        words = int_words(rows, "int16", self.machine)
        where = self.memory.put("rotary table", words)
        index = {"index": INDICES.index("position"), "stride": words.shape[1]}
        self.load(at.rotary, self.head_dim, "int16", where, **index)

    def _row_of_integers(self, table: Table) -> None:
        """The token's row as int8, its stored scale in front: a burst each."""
        at, machine = self.at, self.machine
        scale = int_words(table.rows.words()[:, None], "uint16", machine)
        numbers = int_words(table.weights.astype(np.int64), "int8", machine)
        where = self.memory.put("embedding table", np.concatenate([scale, numbers], axis=1))
        stride = scale.shape[1] + numbers.shape[1]
        row = {"index": INDICES.index("token"), "stride": stride}
        self.load(at.rotary, 1, "uint16", where, **row)
        self.load(at.sum, self.hidden, "int8", where + scale.shape[1], **row)

    def _row_of_tiles(self, table: Table) -> None:
        """The token's row out of weight tiles, from the highest digit plane on: three times it and the next one."""
        at, machine = self.at, self.machine
        tiles, scales = self._table("table" if table is self.model.head else "embedding", table)
        self.load(at.rotary, 1, "uint16", scales, pick=1, stride=1)
        per_plane = ceil_divide(self.hidden, machine.array.rows) * machine.tile_words
        for plane in reversed(range(table.digits)):
            alone = plane == table.digits - 1
            if not alone:
                self.add(at.sum, at.sum, at.x)
                self.add(at.x, at.sum, at.sum)
            self.emit(
                "ROW", address=tiles, beats=table.digits * per_plane, skip=plane * per_plane,
                destination=at.sum if alone else at.x, words=machine.words(self.hidden), packed=int(machine.unpacks),
            )  # fmt: skip
            if not alone:
                self.add(at.sum, at.x, at.sum)

    def _table(self, name: str, table: Table) -> tuple[int, int]:
        """Memory words where a whole table's tiles begin, and its stored scales; both are put once."""
        if name not in self.memory.regions:
            self.memory.put(name, packed_words(to_digits(table.weights.astype(np.int64), table.digits), self.machine))
            self.memory.put(f"{name}, scales", int_words(table.rows.words()[None], "uint16", self.machine))
        return self.memory.regions[name][0], self.memory.regions[f"{name}, scales"][0]

    def _attention(self, layer: Layer) -> None:
        """Norm, q, k and v, their positions, the cache, and every KV head's group of queries."""
        at, machine, form, d = self.at, self.machine, self.model.form, self.head_dim
        self.norm(layer.input_norm, "input norm")
        for name, parts, where in (("q", layer.q, at.query), ("k", layer.k, at.key), ("v", layer.v, at.value)):
            self.linear(name, parts, where, OPERAND_BITS)
        words, kv_heads = machine.words(d), self.model.kv_heads
        for where, rows in ((at.query, self.heads), (at.key, kv_heads)):
            self.emit("ROPE", source=where, second=at.rotary, destination=where, words=words, rows=rows)
            if form.rotate:
                size = block_size(d)
                self.emit("WHT", source=where, words=size // machine.lanes, rows=rows * d // size)
        keys, values = self.keep(at.key, form.key_digits, "K"), self.keep(at.value, form.value_digits, "V")
        for head in range(kv_heads):
            self._group(layer, head, keys, values)
        self.quantize(at.attention, self.heads * d)
        self.residual("o", layer.o, layer.attention.output_fraction)

    def _group(self, layer: Layer, head: int, keys: Kept, values: Kept) -> None:
        """The queries of one KV head over all blocks of the context."""
        at, machine, d, group = self.at, self.machine, self.head_dim, self.group
        a, words, pitch = layer.attention, machine.words(d), machine.words(d)
        first = at.query + head * group * words
        self.quantize(first, d, rows=group, factor=a.query_factor)
        begin = self.entry + len(self.program)
        behind = group * ceil_divide(d, machine.array.rows)  # the queries stay in the activation buffer for all blocks
        block, per_block = INDICES.index("block"), self.block // machine.lanes
        visible = {"index": block, "by_block": 1}
        scale_stride = per_block // 2  # two numbers of 16 bits per lane and memory word
        self.load(at.scales, self.block, "uint16", keys.scales_of(head), stride=scale_stride, **visible)
        self.emit(
            "SCORE", address=keys.data_of(head), stride=keys.per_block, planes=keys.planes, k=d, rows=group,
            second=at.scales, destination=at.score, pitch=per_block, first=a.first, shift=a.second, **visible,
        )  # fmt: skip
        self.load(at.value_scales, self.block, "uint16", values.scales_of(head), stride=scale_stride, **visible)
        self.emit(
            "EXP", source=at.score, second=at.value_scales, destination=at.score, rows=group, pitch=per_block,
            first=a.fold, by_block=1,
        )  # fmt: skip
        self.quantize(at.score, 0, rows=group, pitch=per_block, activation=behind, by_block=1, weights=1)
        self.emit(
            "OACC", address=values.data_of(head), stride=values.per_block, jump=values.stride, planes=values.planes,
            activation=behind, n=d, by_lanes=1, rows=group, destination=at.output, pitch=pitch, first=a.third,
            **visible,
        )  # fmt: skip
        self.emit("END", address=begin)
        self.emit(
            "ONORM", source=at.output, destination=at.attention + head * group * words, words=words, rows=group,
            pitch=pitch, first=a.last, shift=a.spare,
        )  # fmt: skip

    def _mlp(self, layer: Layer) -> None:
        """Norm, gate and up, SiLU, down."""
        at, machine = self.at, self.machine
        self.norm(layer.post_norm, "post norm")
        self.linear("gate", layer.gate, at.gate, OPERAND_BITS)
        self.linear("up", layer.up, at.up, FACTOR_BITS)
        words = machine.words(self.intermediate)
        self.emit(
            "GLU", source=at.gate, second=at.up, destination=at.gate, words=words, shift=layer.up_fraction
        )  # fmt: skip
        self.quantize(at.gate, self.intermediate)
        self.residual("down", layer.down, FRACTION)

    def _head(self) -> None:
        """The last norm in 15 bits, the table, the largest logit; only where the next token is wanted."""
        table = self.model.head
        begin, self.layer = len(self.program), len(self.model.layers)
        self.norm(self.model.last_norm, "last norm", HEAD_LIMIT, split=1)
        _, unit = logit_exponents(table)
        smallest = unit + table.rows.bias
        for start, stop in self.chunks(len(table.weights), self.table_chunk):
            weights, scales = self._head_rows(table, start, stop)
            self.emit(
                "ARGMAX", planes=table.digits, n=stop - start, k=self.hidden, rows=2, second=scales, identity=start,
                first=smallest, add=int(start > 0), **weights,
            )  # fmt: skip
        self.program[begin:] = [one._replace(values={**one.values, "last_only": 1}) for one in self.program[begin:]]

    def _head_rows(self, table: Table, start: int, stop: int) -> tuple[dict[str, int], int]:
        """Fields of a GEMM with some rows of the table, and the scratch word where their stored scales begin."""
        name, piece = f"head rows {start} to {stop - 1}", rows_of(table, start, stop)
        if not self.tiles:
            return self.weights(name, piece)
        machine, array = self.machine, self.machine.array
        tiles, scales = self._table("table", table)
        per_column_tile = table.digits * ceil_divide(self.hidden, array.rows)
        in_front, mine = start // array.cols * per_column_tile, ceil_divide(stop - start, array.cols) * per_column_tile
        fields = {"address": tiles + machine.burst_words(in_front), "burst": machine.burst_words(mine)}
        where = scales + start // (2 * machine.lanes)
        return fields | {"packed": int(machine.unpacks)}, self.constant(name, piece.scales.words(), "uint16", where)
