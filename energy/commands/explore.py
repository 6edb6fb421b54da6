"""``tritforge explore``: a local web page on which one design is moved by sliders and choices."""

import json
import webbrowser
from argparse import ArgumentParser, Namespace

from hw.errors import InputError

__all__ = ["add_explore"]

_PORT = 8765


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
    parser.add_argument("--json", action="store_true", help="print the address as JSON once it answers")
    parser.set_defaults(run=_explore)


def _explore(options: Namespace) -> None:
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
