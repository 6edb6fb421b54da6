"""Memories as instances of named modules, for memory compilers of a process and RAM of a vendor."""
