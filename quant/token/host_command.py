"""``tritforge host``: the host program of a board (``hw.host``), with the tokenizer of the model that it runs."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.errors import InputError
from hw.host.command import add_host as add_board
from hw.host.command import run_host
from hw.program.image import CONFIG_FILE

__all__ = ["add_host"]


def add_host(parser: ArgumentParser) -> None:
    """Options of ``host``."""
    add_board(parser)
    parser.add_argument("--prompt", metavar="TEXT", help="with --whole: text to go on from, instead of --ids")
    parser.add_argument(
        "--model", metavar="MODEL", help="whose tokenizer it is (default: what the program was made of)"
    )
    parser.set_defaults(run=_host)


def _host(options: Namespace) -> None:
    if options.prompt is None:
        if options.model:
            raise InputError("--model must come with --prompt, whose tokenizer it names")
        run_host(options)
        return
    if not options.whole:
        raise InputError("--prompt must come with --whole DIR, the program that reads it")
    if options.ids:
        raise InputError("--ids must be left out with --prompt")
    from quant.llama.loading import load_tokenizer  # imports transformers
    from quant.source import located, resolve

    source = located(resolve(options.model or _made_of(options.whole)))
    tokenizer = load_tokenizer(source.path, source.shape)
    run_host(options, tokenizer.encode(options.prompt), tokenizer)


def _made_of(folder: Path) -> str:
    """The model that a program's ``config.json`` names.

    Raises:
        InputError: it names none, or cannot be read.
    """
    try:
        return str(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / CONFIG_FILE}: must name the model of the program ({type(error).__name__}): give --model, or "
            "--ids instead of --prompt"
        ) from None
