"""One file per command of ``python -m energy`` and ``tritforge``."""
