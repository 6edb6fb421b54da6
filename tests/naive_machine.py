"""A whole machine as slow, obvious loops: what each op of a step counts and how long it takes; ``sim`` must equal it.

Written from docs/architecture.md and docs/simulator.md; GEMMs are walked by ``tests/naive_gemm.py``, and here every
pair of a query and a key. Shapes and machines must be small.
"""

import math
from collections import Counter
from fractions import Fraction
from statistics import NormalDist

from tests.naive_gemm import FORMATS, RESIDUAL, naive_gemm, up

__all__ = ["NaiveMachine"]

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
HALF_OF_RANDOM = Fraction(1, 2)  # toggles per bit of random operands


class NaiveMachine:
    """One array with its vector unit, memory and host; ``gemm``: keywords of every ``naive_gemm``."""

    def __init__(
        self, shape, array, memory, *, kv_bits=16, digits=None, on_chip=False, units=None, entries=None, host=None,
        head_digits=None, **gemm,
    ):  # fmt: skip
        """``units``: op -> where it was moved; ``entries``: kind -> entry of a manifest, the same in every layer.

        ``digits``: of K and of V where the array multiplies them, and whether q and k are rotated. ``head_digits``: of
        lm_head.
        """
        self.digits, self.head_digits = digits, head_digits
        self.shape, self.array, self.memory, self.host = shape, array, memory, host
        self.kv_bits, self.on_chip, self.units, self.entries = kv_bits, on_chip, units or {}, entries or {}
        self.gemm, self.format = gemm, FORMATS[array.mac]
        self.weight_bits = (
            Fraction(8, 5) if (array.mac, array.packing) == ("ternary", "5in8") else self.format.weight_bits
        )
        self.rate = Fraction(memory.channels * memory.peak_bytes_per_s * memory.sequential_efficiency / array.clock_hz)

    def step(
        self, phase: str, queries: int, past: int, batch: int, riding: int = 0, prefetch: bool = False
    ) -> dict[str, Counter]:
        """Op -> counts with ``cycles`` and causes, of all layers in one step; ``queries`` new tokens per sequence.

        ``riding``: the last so many tokens of one more prompt of ``past`` tokens run along. ``prefetch``: a GEMM's
        tiles come while the ops before it, since the last GEMM, leave DRAM idle.
        """
        s = self.shape
        tokens, layers = queries * batch + riding, s.layers
        heads = batch + (riding > 0)
        hidden, inner, q, kv = s.hidden_size, s.intermediate_size, s.heads * s.head_dim, s.kv_heads * s.head_dim
        ops: dict[str, tuple[int, Counter]] = {}
        idle = 0

        def add(name, count, one):
            nonlocal idle
            self._through_ports(one)
            ops[name] = count, one
            dram = one["dram_read_bits"] + Fraction(self.memory.write_cost) * one["dram_write_bits"]
            idle += math.floor(max(0, one["cycles"] - Fraction(dram) / 8 / self.rate))
            idle = 0 if self._place(name) == "array" or not prefetch else idle

        def vector(name, width_in, width_out, operations, bits_out=RESIDUAL, count=layers, rows=tokens, cached=0):
            add(name, count, self._vector(name, rows, width_in * RESIDUAL, width_out * bits_out, operations, cached))

        def quantize(name, width, **once):
            if self.format.activation_bits == 8:
                vector(f"quantize_{name}", width, width, 2 * width, bits_out=8, **once)

        def linear(kind):
            n, k = {
                "q_proj": (q, hidden), "k_proj": (kv, hidden), "v_proj": (kv, hidden), "o_proj": (hidden, q),
                "gate_proj": (inner, hidden), "up_proj": (inner, hidden), "down_proj": (hidden, inner),
            }[kind]  # fmt: skip
            add(kind, layers, self._linear(kind, phase, tokens, n, k, idle))

        add("embedding", 1, self._embedding(tokens * hidden * 16))
        vector("attention_norm", hidden, hidden, 3 * hidden)
        quantize("attention_input", hidden)
        for kind in ("q_proj", "k_proj", "v_proj"):
            linear(kind)
        if s.qkv_bias:
            vector("qkv_bias", q + 2 * kv, q + 2 * kv, q + 2 * kv)
        vector("rope", q + kv, q + kv, 3 * (q + kv))
        if self.digits:
            stages, length = 0, s.head_dim
            while length % 2 == 0:
                stages, length = stages + 1, length // 2
            if self.digits[2] and stages:
                vector("rotate", q + kv, q + kv, stages * (q + kv))
            vector("quantize_queries", q, q, 2 * q, bits_out=8)
            cached = s.kv_heads * (
                8 * self._kept_bytes(self.digits[0]) + 16 + 8 * self._kept_bytes(self.digits[1]) + 16
            )
            vector("kv_cache_write", 2 * kv, 0, 3 * 2 * kv, cached=cached)
        else:
            vector("kv_cache_write", 2 * kv, 0, 2 * 2 * kv if self.kv_bits < 16 else 0, cached=2 * kv * self.kv_bits)
        for name in ("attention_scores", "softmax", "attention_values"):
            one = self._attention(name, queries, past, batch)
            if riding:
                one = one + self._attention(name, riding, past - riding, 1)
            add(name, layers, one)
        if s.sub_norms:
            vector("attention_sub_norm", q, q, 3 * q)
        quantize("o_proj_input", q)
        linear("o_proj")
        vector("attention_residual", 2 * hidden, hidden, hidden)
        vector("mlp_norm", hidden, hidden, 3 * hidden)
        quantize("mlp_input", hidden)
        linear("gate_proj")
        linear("up_proj")
        vector("gate", 2 * inner, inner, {"silu": 5, "relu2": 3, "gelu": 8}[s.activation] * inner)
        if s.sub_norms:
            vector("mlp_sub_norm", inner, inner, 3 * inner)
        quantize("down_proj_input", inner)
        linear("down_proj")
        vector("mlp_residual", 2 * hidden, hidden, hidden)
        vector("final_norm", hidden, hidden, 3 * hidden, count=1, rows=heads)
        if self.head_digits:
            quantize("lm_head_input", hidden, count=1, rows=heads)
        add("lm_head", 1, self._lm_head(heads, idle))
        return {name: Counter({key: count * value for key, value in one.items()}) for name, (count, one) in ops.items()}

    # Vector unit, DRAM and host

    def _place(self, name: str) -> str:
        if name in self.units:
            return self.units[name]
        if name == "lm_head" and self.head_digits:
            return "array"
        if name in ("attention_scores", "attention_values", "lm_head"):
            if self.digits and name != "lm_head":
                return "array"
            return "array" if self.format.passes else "vector"
        return "array" if name in LINEARS else "vector"

    def _through_ports(self, one: Counter) -> None:
        """An op takes at least the cycles in which each limited port moves all that it moves."""
        array = self.array
        for port, names, sharing in (
            (array.weight_port_bits, ("weight_buffer_read_bits", "weight_buffer_write_bits"), 1),
            (array.activation_port_bits, ("activation_buffer_read_bits", "activation_buffer_write_bits"), 1),
            (array.accumulator_port_bits, ("accumulator_read_bits", "accumulator_write_bits"), self._cores()),
        ):
            cycles = up(Fraction(sum(one[name] for name in names)) / sharing / port) if port else 0
            if cycles > one["cycles"]:
                self._charge(one, "port_stall", cycles)

    def _charge(self, one: Counter, cause: str, cycles: int) -> None:
        """An op takes so many cycles, all but the ideal ones for one cause."""
        for other in ("fill_drain", "weight_stall", "dram_stall", "vector", "host", "output_stall", "port_stall"):
            one[other] = 0
        one["cycles"], one[cause] = cycles, cycles - one["ideal"]

    def _beside(self, counts: Counter, rows=None, lanes=None, bus_bits=0) -> Counter:
        """Time of work on the vector units: bus and DRAM run meanwhile; the first word of a read is waited for."""
        work = Fraction(
            sum(counts[name] for name in ("vector_macs", "vector_float_macs", "vector_ops", "scale_multiplies"))
        )
        units = self.array.vector_units * self._cores()
        if rows is not None and self.array.vector_units > 1:  # of the unit with most rows, all others like it
            work *= Fraction(max(len(range(unit, rows, units)) for unit in range(units)) * units, rows)
        busy = up(work / (lanes or self.array.vector_lanes * units))
        bus = up(Fraction(bus_bits) / (self.array.vector_bus_bits * self._cores())) if self.array.vector_bus_bits else 0
        moved = counts["dram_read_bits"] + Fraction(self.memory.write_cost) * counts["dram_write_bits"]
        dram = up(Fraction(moved) / 8 / self.rate)
        if counts["dram_read_bits"] > 0:
            dram += up(self.memory.latency_s * self.array.clock_hz)
        longest = max(busy, bus, dram)
        self._charge(
            counts, "vector" if longest == busy else "weight_stall" if longest == bus else "dram_stall", longest
        )
        return counts

    def _attention_lanes(self) -> int:
        return (self.array.attention_lanes or self.array.vector_lanes * self.array.vector_units) * self._cores()

    def _cores(self) -> int:
        return self.gemm.get("cores", 1)

    def _on_host(self, macs, operations, link_bits, dram_bits) -> Counter:
        host, clock = self.host, Fraction(self.array.clock_hz)
        work = Fraction(macs) / Fraction(host.macs_per_s) + Fraction(operations) / Fraction(host.operations_per_s)
        link = Fraction(link_bits) / 8 / Fraction(host.link_bytes_per_s)
        busy = up((Fraction(host.latency_s).limit_denominator(10**9) + max(work, link)) * clock)
        dram = up(Fraction(dram_bits) / 8 / self.rate)
        return Counter({
            "host_macs": macs, "host_ops": operations, "host_link_bits": link_bits, "dram_read_bits": dram_bits,
            "cycles": max(busy, dram), "dram_stall" if dram > busy else "host": max(busy, dram),
        })  # fmt: skip

    def _from_dram(self, bits):
        return 0 if self.on_chip else bits

    def _stays(self, tokens: int, bits: int) -> bool:
        return 2 * tokens * bits <= 8 * self.array.activation_buffer_bytes

    def _embedding(self, bits: int) -> Counter:
        return self._beside(Counter(dram_read_bits=self._from_dram(bits), activation_buffer_write_bits=bits))

    def _vector(self, name, tokens, bits_in, bits_out, operations, cached) -> Counter:
        if self._place(name) == "host":
            return self._on_host(0, tokens * operations, tokens * (bits_in + bits_out), 0)
        counts = Counter(vector_ops=tokens * operations)
        counts["activation_buffer_read_bits"] += tokens * bits_in
        counts["activation_buffer_write_bits"] += tokens * bits_out
        if not self._stays(tokens, bits_in):  # it comes from DRAM first
            counts["dram_read_bits"] += tokens * bits_in
            counts["activation_buffer_write_bits"] += tokens * bits_in
        if not self._stays(tokens, bits_out):  # it goes to DRAM afterwards
            counts["dram_write_bits"] += tokens * bits_out
            counts["activation_buffer_read_bits"] += tokens * bits_out
        counts["dram_write_bits"] += self._from_dram(tokens * cached)
        return self._beside(counts, rows=tokens)

    # Attention

    def _visible(self, position: int) -> range:
        """Keys that a query at ``position`` sees."""
        window = self.shape.sliding_window
        return range(max(0, position + 1 - window) if window else 0, position + 1)

    def _attention(self, name: str, queries: int, past: int, batch: int) -> Counter:
        s, array = self.shape, self.array
        group, tile = s.heads // s.kv_heads, array.token_tile
        pairs = sum(len(self._visible(past + query)) for query in range(queries)) * batch * s.heads
        cached = 0  # tokens whose K, or V, is fetched
        for first in range(0, queries, tile):
            seen = {key for query in range(first, min(first + tile, queries)) for key in self._visible(past + query)}
            cached += len(seen)
        cache_bits = cached * batch * s.kv_heads * s.head_dim * self.kv_bits
        vectors = batch * queries * s.heads * s.head_dim
        place = self._place(name)
        if name == "softmax":
            each = (
                5 + 6 * s.attention_softcap + 2 * bool(self.digits)
            )  # c - 2 c / (exp(2 x / c) + 1) beside the softmax itself
            if place == "host":
                return self._on_host(0, each * pairs, 2 * pairs * RESIDUAL, 0)
            written = pairs * (8 if self.digits else RESIDUAL)
            moved = Counter(activation_buffer_read_bits=pairs * RESIDUAL, activation_buffer_write_bits=written)
            return self._beside(moved + Counter(vector_ops=each * pairs), lanes=self._attention_lanes())
        if place == "host":
            return self._on_host(pairs * s.head_dim, 0, (pairs + vectors) * RESIDUAL, self._from_dram(cache_bits))
        if place == "vector":
            macs = pairs * s.head_dim
            return self._beside(Counter(
                vector_macs=macs,
                activation_buffer_read_bits=macs * self.kv_bits + vectors * RESIDUAL,
                activation_buffer_write_bits=cache_bits + vectors * RESIDUAL,
                dram_read_bits=self._from_dram(cache_bits),
            ), lanes=self._attention_lanes(), bus_bits=cache_bits)  # fmt: skip
        if self.digits:
            return self._digit_products(name, queries, past, batch, pairs)
        total = Counter()
        for first in range(0, queries, tile):
            tokens = range(first, min(first + tile, queries))
            context = len({key for query in tokens for key in self._visible(past + query)})
            n, k = (context, s.head_dim) if name == "attention_scores" else (s.head_dim, context)
            one = self._dense(
                len(tokens) * group, n, k, stored=self.kv_bits / self.format.passes, here=True,
                head_start=self._whole_latency(),
            )  # fmt: skip
            for _ in range(batch * s.kv_heads):
                total += one
        self._first_word(total)
        useful = pairs * s.head_dim * self.format.passes
        total["array_macs_padding"] += total["array_macs"] - useful  # products with keys that a query does not see
        total["array_macs"] = total["array_macs_active"] = useful
        return total

    def _whole_latency(self) -> int:
        """Whole cycles before a first word of DRAM."""
        return int(Fraction(self.memory.latency_s).limit_denominator(10**12) * Fraction(self.array.clock_hz))

    def _first_word(self, total: Counter) -> None:
        """A step of attention waits for its first word once; later GEMMs' tiles were asked for while others worked."""
        if not self.on_chip:
            total["dram_stall"] += self._whole_latency()
            total["cycles"] += self._whole_latency()

    def _kept_bytes(self, digits: int) -> int:
        """Of one token and head: per plane whole bytes of five trits for every piece of the head that is a tile's."""
        piece, left, kept = min(self.array.rows, self.array.cols), self.shape.head_dim, 0
        while left > 0:
            kept += up(Fraction(min(piece, left), 5))
            left -= piece
        return digits * kept

    def _block(self, rows: int) -> int:
        """Keys whose scores take half of the activation buffer and whose sums fit, in whole tiles of lanes."""
        array, largest = self.array, 127 * (3 ** self.digits[1] - 1) // 2
        block = array.rows
        while 2 * rows * (block + array.rows) * RESIDUAL <= 8 * array.activation_buffer_bytes and (
            block + array.rows
        ) * largest < 2 ** (array.accumulator_bits - 1):
            block += array.rows
        return block

    def _digit_products(self, name: str, queries: int, past: int, batch: int, pairs: int) -> Counter:
        """K or V in digits as planes of weights, block after block of keys; the vector unit streams beside."""
        s, array = self.shape, self.array
        scores = name == "attention_scores"
        planes = self.digits[0] if scores else self.digits[1]
        plane_bytes = self._kept_bytes(1)
        if scores:
            tile_bytes = up(Fraction(array.cols * plane_bytes, up(Fraction(s.head_dim, array.rows))))
        else:
            tile_bytes = up(Fraction(array.rows * plane_bytes, up(Fraction(s.head_dim, array.cols))))
        total = Counter()
        for first in range(0, queries, array.token_tile):
            tokens = range(first, min(first + array.token_tile, queries))
            context = len({key for query in tokens for key in self._visible(past + query)})
            rows = len(tokens) * s.heads // s.kv_heads
            block = self._block(rows)
            visible = [sorted(self._visible(past + query)) for query in tokens]
            seen = sorted({key for keys in visible for key in keys})
            for start in range(0, context, block):
                keys = seen[start : start + block]
                n, k = (len(keys), s.head_dim) if scores else (s.head_dim, len(keys))
                one = naive_gemm(
                    array, self.memory, rows, n, k, bits=self.weight_bits, planes=planes, inputs_here=True,
                    outputs_here=True, weights_here=self.on_chip, tile_bytes=tile_bytes, digits=True,
                    head_start=self._whole_latency(), **self._mapping(),
                )  # fmt: skip
                products = sum(len(set(own) & set(keys)) for own in visible)
                products *= s.heads // s.kv_heads * s.head_dim * planes
                one["array_macs_padding"] += one["array_macs"] - products
                one["array_macs"] = products
                beside = Counter()
                if scores:
                    bits = len(keys) * (16 + 16)
                    beside["scale_multiplies"] = rows * n
                    beside["weight_buffer_read_bits"] = bits
                    beside["weight_buffer_write_bits"] = beside["dram_read_bits"] = self._from_dram(bits)
                else:
                    final = start + block >= context
                    beside["scale_multiplies"] = rows * n * (2 if final else 1)
                    beside["vector_ops"] = rows * n
                    beside["activation_buffer_read_bits"] = 0 if start == 0 else rows * n * RESIDUAL
                one = self._around(one, beside, self._attention_lanes(), 0)
                for _ in range(batch * s.kv_heads):
                    total += one
        self._first_word(total)
        assert total["array_macs"] == pairs * s.head_dim * planes
        ones = Fraction(1, 3)  # two of three digits are set, and half of an operand's bits
        rate = ones if queries * s.heads > s.kv_heads else 2 * ones * (1 - ones)  # tiles rest, or meet one row each
        total["array_macs_active"] = total["array_macs"] * float(rate / HALF_OF_RANDOM)
        return total

    # Linears

    def _dense(self, m, n, k, stored=None, here=False, head_start=0) -> Counter:
        """K, V or lm_head on the array."""
        form = self.format
        array = self.array
        if array.mac == "w4a16":
            array = array.model_copy(update={"mac": "fp16"})
        counts = naive_gemm(
            array, self.memory, m, n, k, bits=form.pass_bits, stored=stored, planes=form.passes, inputs_here=here,
            outputs_here=here, weights_here=self.on_chip, head_start=head_start, **self._mapping(),
        )  # fmt: skip
        counts["array_macs_active"] = counts["array_macs"]
        counts["scale_multiplies"] = m * n * form.dense_scales
        return counts

    def _mapping(self) -> dict:
        return {name: value for name, value in self.gemm.items() if name != "cores"}

    def _lm_head(self, batch: int, idle: int) -> Counter:
        n, k = self.shape.vocab_size, self.shape.hidden_size
        if self.head_digits and self._place("lm_head") == "array":
            return self._head_in_digits(batch, n, k, idle)
        if self._place("lm_head") == "host":
            return self._host_linear(batch, n, k, n * k * self.format.head_bits, 0, 0)
        if self._place("lm_head") == "array":
            return self._around(self._dense(batch, n, k, head_start=idle), Counter())
        return self._vector_linear(batch, n, k, self.format.head_bits, Counter())

    def _head_in_digits(self, batch: int, n: int, k: int, idle: int) -> Counter:
        """As a linear of so many planes, which are weighed, so that each output has one scale."""
        planes = self.head_digits
        counts = naive_gemm(
            self.array, self.memory, batch, n, k, bits=self.weight_bits, planes=planes, digits=planes > 1,
            weights_here=self.on_chip, head_start=idle, **self._mapping(),
        )  # fmt: skip
        zeros = Fraction(1, 3) if planes > 1 else 2 * NormalDist().cdf(math.sqrt(2 / math.pi) / 2) - 1
        ones = (1 - zeros) / 2
        counts["array_macs_active"] = counts["array_macs"] * float(2 * ones * (1 - ones) / HALF_OF_RANDOM)
        counts["scale_multiplies"] = batch * n
        bits = 16 * n * up(batch / self.array.token_tile)
        beside = Counter(
            weight_buffer_read_bits=bits,
            weight_buffer_write_bits=self._from_dram(bits),
            dram_read_bits=self._from_dram(bits),
        )
        return self._around(counts, beside)

    def _linear(self, kind: str, phase: str, m: int, n: int, k: int, idle: int) -> Counter:
        array, form, entry = self.array, self.format, self.entries.get(kind)
        trits = array.mac == "ternary"
        planes, group, beside, scales, offsets, stored_scales, side_bits = 1, None, Counter(), 1, 0, 0, 0
        zeros = 2 * NormalDist().cdf(math.sqrt(2 / math.pi) / 2) - 1  # |w| below half of its mean
        if entry:
            zeros = entry.zero_fraction
        if entry and trits:
            planes = entry.planes
            group = entry.group if entry.scale_kind in ("group", "pow2") else None
            groups = up(k / entry.group) if entry.scale_kind == "group" else 1
            scales, offsets = groups * planes, up(k / entry.group) if entry.has_offsets else 0
            stored_scales = entry.scale_bits + entry.offset_bits
            side_bits = entry.low_rank_bits + (entry.mask_bits + 8 * entry.outliers if entry.outliers else 0)
            tiles = up(m / array.token_tile)
            own = bool(array.group_exponent_bits or array.scale_bits)  # scales are counted with the weights
            bits = (side_bits + (0 if own else stored_scales)) * tiles
            beside = Counter(
                vector_macs=m * entry.outliers,
                vector_float_macs=m * entry.rank * (n + k),
                vector_ops=m * k * (entry.permutation_bits > 0),
                weight_buffer_read_bits=bits,
                weight_buffer_write_bits=self._from_dram(bits),
                dram_read_bits=self._from_dram(bits),
                activation_buffer_read_bits=m * (entry.outliers * 8 + entry.rank * (n + k) * 16),
            )
        weight_bits = self.weight_bits * planes
        if self._place(kind) == "host":
            stored = n * k * weight_bits + stored_scales + side_bits
            operations = 2 * beside["vector_float_macs"] + beside["vector_ops"]
            return self._host_linear(m, n, k, stored, beside["vector_macs"], operations)
        if self._place(kind) == "vector":
            return self._vector_linear(m, n, k, weight_bits, beside)
        counts = naive_gemm(
            array, self.memory, m, n, k, bits=self.weight_bits, planes=planes, group=group,
            output_bits=8 if array.results == "int8" else RESIDUAL, weights_here=self.on_chip, head_start=idle,
            **self._mapping(),
        )  # fmt: skip
        ones = (1 - zeros) / 2  # share of set bits of a selected operand
        resting = phase == "prefill" and array.organisation == "tree"
        rate = (ones if resting else 2 * ones * (1 - ones)) if trits else HALF_OF_RANDOM
        counts["array_macs_active"] = counts["array_macs"] * float(rate / HALF_OF_RANDOM)
        counts["scale_multiplies"] = m * n * ((scales + offsets) if trits else form.output_scales)
        if offsets and not array.sum_of_x:
            counts["vector_ops"] += m * k
        return self._around(counts, beside)

    def _around(self, counts: Counter, beside: Counter, lanes=None, bus_bits=None) -> Counter:
        """Array and vector units side by side: the slower one decides; DRAM fetches ``beside`` where it is idle."""
        array_cycles = counts["cycles"]
        dram = counts["dram_read_bits"] + Fraction(self.memory.write_cost) * counts["dram_write_bits"]
        for name, value in beside.items():
            counts[name] += value
        work = sum(counts[name] for name in ("vector_macs", "vector_float_macs", "vector_ops"))
        if self.array.results == "sums":
            work += counts["scale_multiplies"]
        units = up(Fraction(work) / (lanes or self.array.vector_lanes * self.array.vector_units * self._cores()))
        bits = beside["weight_buffer_read_bits"] if bus_bits is None else bus_bits
        bus = up(Fraction(bits) / (self.array.vector_bus_bits * self._cores())) if self.array.vector_bus_bits else 0
        busy = max(array_cycles, units, bus)
        idle = max(0, busy - Fraction(dram) / 8 / self.rate)
        waits = max(0, up(Fraction(beside["dram_read_bits"]) / 8 / self.rate - idle))
        if waits:
            self._charge(counts, "dram_stall", busy + waits)
        elif busy > array_cycles:
            self._charge(counts, "vector" if busy == units else "weight_stall", busy)
        return counts

    def _vector_linear(self, m, n, k, weight_bits, beside: Counter) -> Counter:
        bits = n * k * weight_bits * up(m / self.array.token_tile)
        counts = Counter(
            vector_macs=m * n * k,
            scale_multiplies=m * n,
            weight_buffer_read_bits=bits,
            weight_buffer_write_bits=self._from_dram(bits),
            dram_read_bits=self._from_dram(bits),
            activation_buffer_read_bits=m * n * k * RESIDUAL,
            activation_buffer_write_bits=m * n * RESIDUAL,
        )
        counts += beside
        return self._beside(counts, bus_bits=counts["weight_buffer_read_bits"])

    def _host_linear(self, m, n, k, stored, more_macs, operations) -> Counter:
        link = m * (k * self.format.activation_bits + n * RESIDUAL)
        return self._on_host(m * n * k + more_macs, operations, link, self._from_dram(stored))
