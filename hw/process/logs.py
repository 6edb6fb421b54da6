"""``TRITFORGE_LOG``: what commands log on standard error; programs that import the packages configure ``logging``."""

import logging
import os
from collections.abc import Mapping

from hw.errors import InputError

__all__ = ["LOG", "PACKAGES", "log_as_asked"]

LOG = "TRITFORGE_LOG"
PACKAGES = ("hw", "quant", "sim", "energy")  # names of the loggers above those of the modules

_LEVELS = ("debug", "info", "warning")


def log_as_asked(environment: Mapping[str, str] = os.environ) -> None:
    """Let the loggers of the four packages write from the level on that the variable names; without it they are silent.

    Raises:
        InputError: another word than debug, info or warning.
    """
    if not (asked := environment.get(LOG)):
        return
    if asked.lower() not in _LEVELS:
        raise InputError(f"{LOG} must be one of {', '.join(_LEVELS)}, not {asked!r}")
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    for package in PACKAGES:
        logging.getLogger(package).setLevel(asked.upper())
