"""The walk over the tiles of a GEMM, without division: sizes are counted down in steps of the array's own."""

from amaranth import Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from hw.config import ArrayConfig
from hw.formats import SIZE_BITS
from hw.gateware.ports import Descriptor, plane_shape, token_shape

__all__ = ["Countdown", "TileWalk"]


class Countdown(Component):
    """What is left along one size of a GEMM, in steps of ``step``; wraps behind the last step.

    ``last`` and ``after`` are registers that are made ahead, so that no comparison stands before what depends on them.

    Members
    -------
    size : read with ``start``; not 0.
    start : stand on the first step of ``size``.
    advance : go to the next step, from the last to the first.
    left : what is left, this step included.
    last : it is ``step`` or less.
    after : what ``last`` becomes with the next ``advance``.
    """

    def __init__(self, step: int):
        self.step = step
        super().__init__(
            {
                "size": In(SIZE_BITS),
                "start": In(1),
                "advance": In(1),
                "left": Out(SIZE_BITS),
                "last": Out(1),
                "after": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """The size, what is left of it, and whether this step, the next and the second of all are the last."""
        m = Module()
        whole = Signal(SIZE_BITS)
        two = Signal()  # steps at most
        with m.If(self.start):
            m.d.sync += [whole.eq(self.size), self.left.eq(self.size)]
            m.d.sync += self.last.eq(self.size <= self.step)
            m.d.sync += [two.eq(self.size <= 2 * self.step), self.after.eq(self.size <= 2 * self.step)]
        with m.Elif(self.advance):
            m.d.sync += [self.left.eq(self.left - self.step), self.last.eq(self.after)]
            m.d.sync += self.after.eq(~self.after & (self.left <= 3 * self.step))
            with m.If(self.last):
                m.d.sync += [self.left.eq(whole), self.after.eq(two)]
        return m


class TileWalk(Component):
    """The tiles of a GEMM in stream order: token tile (outermost), column tile, plane, fold (innermost).

    Members
    -------
    sizes : of the GEMM, none 0 unless ``refused``; read with ``start``.
    start : stand on the first tile of ``sizes``.
    refused : with ``start``: stand on no tile.
    step : go to the next tile.
    last_plane : number of the last plane of every column tile; read with ``start``.
    more : the walk stands on a tile, not behind the last.
    first_fold, last_fold : that tile is the first, the last fold of its column tile, planes together.
    last_fold_after : what ``last_fold`` becomes with the next ``step``.
    plane : number of the plane of that tile.
    last_tile : that tile is the last of the GEMM.
    last_token : number of the last token of that tile.
    one_token_next : behind this edge the tile takes a single token.
    last_step : number of the last vector that it takes: of that token, or its last position of K (outputs stationary).
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "sizes": In(Descriptor),
                "last_plane": In(plane_shape(config)),
                "start": In(1),
                "refused": In(1),
                "step": In(1),
                "more": Out(1),
                "first_fold": Out(1),
                "last_fold": Out(1),
                "last_fold_after": Out(1),
                "plane": Out(plane_shape(config)),
                "last_tile": Out(1),
                "last_token": Out(token_shape(config)),
                "one_token_next": Out(1),
                "last_step": Out(token_shape(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Three counters of what is left along k, n and m; each wraps into the next outer one."""
        m = Module()
        config = self.config
        m.submodules.folds = folds = Countdown(config.rows)
        m.submodules.columns = columns = Countdown(config.cols)
        m.submodules.tokens = tokens = Countdown(config.token_tile)
        on_last, on_last_after = self._last_plane(m, self.step & folds.last, folds.last)
        m.d.comb += [
            folds.size.eq(self.sizes.k),
            columns.size.eq(self.sizes.n),
            tokens.size.eq(self.sizes.m),
            folds.advance.eq(self.step),
            columns.advance.eq(self.step & self.last_fold),
            tokens.advance.eq(self.step & self.last_fold & columns.last),
            self.last_fold.eq(folds.last & on_last),
            self.last_fold_after.eq(folds.after & on_last_after),
            self.last_tile.eq(self.last_fold & columns.last & tokens.last),
        ]
        one_token = Signal()
        m.d.sync += one_token.eq(self.one_token_next)
        m.d.comb += self.one_token_next.eq(one_token)
        positions = Mux(folds.last, (folds.left - 1)[: len(self.last_step)], config.rows - 1)
        m.d.comb += self.last_step.eq(positions if config.structure.outputs_stationary else self.last_token)
        for counter in (folds, columns, tokens):
            m.d.comb += counter.start.eq(self.start)
        with m.If(self.start):
            m.d.sync += [self.more.eq(~self.refused), self.first_fold.eq(1)]
            m.d.sync += self.last_token.eq(self._last_token(self.sizes.m, 0))
            m.d.comb += self.one_token_next.eq(self._one_token(self.sizes.m, 0))
        with m.Elif(self.step):
            m.d.sync += [self.more.eq(~self.last_tile), self.first_fold.eq(self.last_fold)]
            with m.If(tokens.advance):
                m.d.sync += self.last_token.eq(self._last_token(tokens.left, config.token_tile))
                m.d.comb += self.one_token_next.eq(self._one_token(tokens.left, config.token_tile))
        return m

    def _last_plane(self, m: Module, leaves: Value, last_fold: Value) -> tuple[Value, Value]:
        """Whether the walk stands on the last plane of a column tile, and whether it will with the next step.

        ``leaves``: this edge leaves a plane; ``last_fold``: a step would.
        """
        if self.config.planes == 1:
            return Const(1, 1), Const(1, 1)
        last_plane = Signal.like(self.plane)
        on_last = self.plane == last_plane
        following = Signal.like(self.plane)
        m.d.comb += following.eq(Mux(on_last, 0, self.plane + 1))
        with m.If(self.start):
            m.d.sync += [last_plane.eq(self.last_plane), self.plane.eq(0)]
        with m.Elif(leaves):
            m.d.sync += self.plane.eq(following)
        return on_last, Mux(last_fold, following, self.plane) == last_plane

    def _last_token(self, left: Value, done: int) -> Value:
        """Number of the last token of the token tile that comes when ``done`` of the ``left`` tokens are over."""
        whole = self.config.token_tile
        return Mux(left <= done + whole, (left - done - 1)[: len(self.last_token)], whole - 1)

    def _one_token(self, left: Value, done: int) -> Value:
        """Whether that number is 0."""
        return left == done + 1 if self.config.token_tile > 1 else Const(1, 1)
