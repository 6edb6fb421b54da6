"""One file per command of ``python -m sim`` and ``tritforge``."""
