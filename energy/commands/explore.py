"""``tritforge explore``: a local web page on which one design is moved by sliders and choices."""

import json
import webbrowser
from argparse import ArgumentParser, Namespace
from functools import partial

from rich.table import Table

from hw.errors import InputError
from hw.pages import screen
from hw.progress import stage_bars

__all__ = ["add_explore"]

_PORT = 8765
_MOST_REDRAWS = 1000


def add_explore(parser: ArgumentParser) -> None:
    """Options of ``explore``."""
    parser.add_argument(
        "--port", type=int, default=_PORT, metavar="N", help=f"TCP port to listen on, 0: any (default: {_PORT})"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on; others than the loopback let other machines in (default: 127.0.0.1)",
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    parser.add_argument(
        "--measure",
        type=int,
        metavar="N",
        help="open nothing: measure N redraws after moves of each control, and print medians and 95th percentiles",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the address as JSON once it answers, or what was measured"
    )
    parser.set_defaults(run=_explore)


def _explore(options: Namespace) -> None:
    if options.measure is not None:
        _measure(options)
        return
    from energy.explorer.server import Explorer

    if not 0 <= options.port <= 65535:
        raise InputError(f"port must be from 0 to 65535, not {options.port}")
    with Explorer(options.host, options.port) as server:
        server.warm()
        if options.json:
            print(json.dumps({"url": server.url}), flush=True)
        else:
            reach = "" if server.is_local else ", for every machine that reaches this one"
            print(f"explorer at {server.url}{reach}; Ctrl-C ends it", flush=True)
        if not options.no_browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def _measure(options: Namespace) -> None:
    from energy.explorer.measure import measure
    from energy.reports.rows import latency_rows

    if not 1 <= options.measure <= _MOST_REDRAWS:
        raise InputError(f"measure must be from 1 to {_MOST_REDRAWS} redraws of each control, not {options.measure}")
    with stage_bars() as report:
        latency = measure(options.measure, tick=partial(report, "redraws"))
    if options.json:
        print(json.dumps(latency.model_dump(), indent=1))
        return
    table = Table(box=None)
    header, *rows = latency_rows(latency.model_dump())
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    screen().print(table)
