"""The sequencer: takes one GEMM descriptor, walks its tiles, and decides loads, swaps and issues."""

from amaranth import Array, Module, Mux, Signal, Value
from amaranth.lib import data, enum, stream
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import COPY, registered
from hw.config import ArrayConfig
from hw.gateware.ports import beat_shape, descriptor_layout, format_fields, plane_shape, token_shape
from hw.gateware.tile_walk import TileWalk

__all__ = ["Sequencer", "Status"]


class Status(enum.Enum, shape=2):
    """What became of the latest descriptor."""

    OK = 0
    ZERO_SIZE = 1  # m, n or k is 0
    K_TOO_LARGE = 2  # sums over k could overflow the accumulator


class Sequencer(Component):
    """Loader, swap and issue control of ``docs/architecture.md``.

    Members
    -------
    descriptor : one per GEMM; ready while nothing runs.
    status, running : of the latest descriptor.
    start : this edge starts a GEMM (edge 0).
    formats : fields of its descriptor behind the sizes, see ``hw.gateware.ports.format_fields``.
    weight_valid, weight_ready, beat : handshake of the weight stream, and the number of the beat inside its tile.
    accept, accept_trits : this edge accepts a beat, one of trits.
    last_exponents_beat, last_scales_beat : that beat is the last with exponents, with scales of its tile.
    swap : this edge moves shadow to active.
    activation_valid, activation_ready : handshake of the activation stream.
    issue, first_fold, last_fold, token, last_in_column_tile : the vector accepted on this edge, see ``Accumulator``.
    last_in_tile, plane : it is the last of its tile; the number of the plane that it meets.
    last_token : number of the last token of its token tile.
    credit_missing : the vector that is issued next needs a credit, and none is available.
    restarting : outputs stationary: the edge before made the last issue of a column tile, so that this one makes none.
    credit_available, last_result_leaves : from the accumulator.
    credit_next : weights stationary: what ``credit_available`` becomes with this edge.
    last_weight_beat, last_vector : the weight beat, the vector that is accepted next is the last of the GEMM.
    shadow_full, active, all_issued : state, for the counters.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "descriptor": In(stream.Signature(descriptor_layout(config))),
                "status": Out(Status),
                "running": Out(1),
                "start": Out(1),
                "formats": Out(data.StructLayout(format_fields(config))),
                "weight_valid": In(1),
                "weight_ready": Out(1),
                "beat": Out(beat_shape(config)),
                "accept": Out(1),
                "accept_trits": Out(1),
                "last_exponents_beat": Out(1),
                "last_scales_beat": Out(1),
                "swap": Out(1),
                "activation_valid": In(1),
                "activation_ready": Out(1),
                "issue": Out(1),
                "first_fold": Out(1),
                "last_fold": Out(1),
                "token": Out(token_shape(config)),
                "last_in_tile": Out(1),
                "last_in_column_tile": Out(1),
                "plane": Out(plane_shape(config)),
                "last_token": Out(token_shape(config)),
                "credit_missing": Out(1),
                "restarting": Out(1),
                "credit_available": In(1),
                "credit_next": In(1),
                "last_result_leaves": In(1),
                "last_weight_beat": Out(1),
                "last_vector": Out(1),
                "shadow_full": Out(1),
                "active": Out(1),
                "all_issued": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """One walk for the loader, one for the issues; they meet at the swap."""
        m = Module()
        m.submodules.load_walk = load = TileWalk(self.config)
        m.submodules.issue_walk = walk = TileWalk(self.config)
        accepted, refused = self._take_descriptor(m)
        sizes = self.descriptor.payload
        for each in (load, walk):
            m.d.comb += [getattr(each.sizes, name).eq(getattr(sizes, name)) for name in "mnk"]
            m.d.comb += [each.start.eq(accepted), each.refused.eq(refused)]
            if self.config.planes > 1:
                m.d.comb += each.last_plane.eq(self._last_plane)

        accept = self.accept
        last_beat = Signal()
        tile_accepted = Signal()
        m.d.comb += [
            self.weight_ready.eq(load.more & (~self.shadow_full | self.swap)),
            accept.eq(self.weight_valid & self.weight_ready),
            last_beat.eq(self._last_beat(m, load.last_fold)),
            tile_accepted.eq(accept & last_beat),
            self.last_weight_beat.eq(load.last_tile & last_beat),
            load.step.eq(tile_accepted),
        ]
        with m.If(accept):
            m.d.sync += self.beat.eq(Mux(last_beat, 0, self.beat + 1))

        at_last_step = self._at_last_step(m, walk, accepted)
        may_issue = self._may_issue(m, walk, at_last_step)
        m.d.comb += [
            self.issue.eq(self.activation_valid & may_issue),
            self.last_token.eq(walk.last_token),
            self.last_in_tile.eq(self.issue & at_last_step),
            self.last_vector.eq(walk.last_tile & at_last_step),
            walk.step.eq(self.last_in_tile),
            self.first_fold.eq(walk.first_fold),
            self.last_fold.eq(walk.last_fold),
            self.last_in_column_tile.eq(self.last_in_tile & walk.last_fold),
            self.plane.eq(walk.plane),
            self.all_issued.eq(~walk.more),
            self.swap.eq(self.shadow_full & (~self.active | self.last_in_tile)),
        ]
        with m.If(self.issue):
            m.d.sync += self.token.eq(Mux(self.last_in_tile, 0, self.token + 1))

        with m.If(tile_accepted):
            m.d.sync += self.shadow_full.eq(1)
        with m.Elif(self.swap):
            m.d.sync += self.shadow_full.eq(0)
        m.d.sync += self.active.eq(self._active_next)
        return m

    @property
    def _active_next(self) -> Value:
        """Whether a tile is active behind this edge."""
        return self.swap | (self.active & ~self.last_in_tile)

    def _at_last_step(self, m: Module, walk: TileWalk, accepted: Value) -> Value:
        """Whether ``token`` is the last of the tile; with weights stationary a register made an edge ahead."""
        at_last_step = Signal()
        if self.config.structure.outputs_stationary:
            m.d.comb += at_last_step.eq(self.token == walk.last_step)
            return at_last_step
        with m.If(accepted | self.last_in_tile):
            m.d.sync += at_last_step.eq(walk.one_token_next)
        with m.Elif(self.issue):
            m.d.sync += at_last_step.eq(self.token + 1 == walk.last_token)
        return at_last_step

    def _may_issue(self, m: Module, walk: TileWalk, at_last_step: Value) -> Value:
        """Drive ``activation_ready`` and ``credit_missing``; returns the same readiness for the issue.

        With weights stationary both are registers made an edge ahead, for the way from here to the memory of the
        vectors is long: ready is ``active & ~credit_missing``.
        """
        if self.config.structure.outputs_stationary:  # a column tile's last issue releases its results, all at once
            m.d.comb += self.credit_missing.eq(walk.last_fold & at_last_step & ~self.credit_available)
            m.d.sync += self.restarting.eq(self.last_in_column_tile)
            m.d.comb += self.activation_ready.eq(self.active & ~self.restarting & ~self.credit_missing)
            return self.activation_ready
        m.d.comb += self.credit_missing.eq(walk.last_fold & ~self.credit_available)
        last_fold_next = Mux(self.last_in_tile, walk.last_fold_after, walk.last_fold)
        ready_next = Signal()
        m.d.comb += ready_next.eq(self._active_next & (~last_fold_next | self.credit_next))
        here, outside = (registered(m, ready_next, f"ready{COPY}{number}") for number in range(2))
        m.d.comb += self.activation_ready.eq(outside)
        return here

    def _last_beat(self, m: Module, last_fold: Value) -> Value:
        """Whether ``beat`` ends a tile, whose trits may be followed by exponents and in a last fold by scales."""
        config, beat = self.config, self.beat
        last = config.weight_beats - 1
        end = beat == last
        if last and not config.scale_beats:  # made an edge ahead
            end = registered(m, beat == last - 1, "at_end", enable=self.accept)
        trits = beat < config.trit_beats if config.exponent_beats + config.scale_beats else 1
        m.d.comb += self.accept_trits.eq(self.accept & trits)
        if config.exponent_beats:
            m.d.comb += self.last_exponents_beat.eq(end)
        if config.scale_beats:
            m.d.comb += self.last_scales_beat.eq(beat == config.weight_beats + config.scale_beats - 1)
            end = Mux(last_fold & self.formats.row_scales, self.last_scales_beat, end)
        return end

    @property
    def _last_plane(self) -> Value:
        """Number of the last plane, out of the descriptor of an array with several."""
        sizes = self.descriptor.payload
        return sizes.second_plane if self.config.planes == 2 else sizes.last_plane

    def _max_k(self) -> Value | int:
        """The largest K of the descriptor's formats; 0 for more planes than the array has, which refuses them."""
        config = self.config
        if config.planes == 1:
            return config.max_k
        planes = range(1, config.planes + 1)
        equal = _chosen([config.max_k_of(count) for count in planes], self._last_plane)
        if not config.digits:
            return equal
        weighted = _chosen([config.max_k_of(count, digits=True) for count in planes], self._last_plane)
        return Mux(self.descriptor.payload.digits, weighted, equal)

    def _take_descriptor(self, m: Module) -> tuple[Value, Value]:
        """Accept a descriptor while nothing runs; start it, or refuse it with a status.

        Returns whether this edge accepts one, and whether it is refused: the walks read all, for its check takes long.
        """
        sizes = self.descriptor.payload
        zero = Signal()
        too_large = Signal()
        accepted = Signal()
        m.d.comb += [
            zero.eq((sizes.m == 0) | (sizes.n == 0) | (sizes.k == 0)),
            too_large.eq(sizes.k > self._max_k()),
            self.descriptor.ready.eq(~self.running),
            accepted.eq(self.descriptor.valid & self.descriptor.ready),
            self.start.eq(accepted & ~zero & ~too_large),
        ]
        with m.If(accepted):
            m.d.sync += self.status.eq(Mux(zero, Status.ZERO_SIZE, Mux(too_large, Status.K_TOO_LARGE, Status.OK)))
        with m.If(self.start):
            m.d.sync += self.running.eq(1)
            m.d.sync += [getattr(self.formats, name).eq(getattr(sizes, name)) for name in format_fields(self.config)]
        with m.Elif(self.last_result_leaves & self.all_issued):
            m.d.sync += self.running.eq(0)
        return accepted, zero | too_large


def _chosen(values: list[int], index: Value) -> Value:
    """One of ``values``, or 0 behind the last."""
    if len(index) == 1:
        return Mux(index, values[1], values[0])
    return Array(values + [0] * (2 ** len(index) - len(values)))[index]
