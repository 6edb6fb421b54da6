"""The whole-token machine on a board: memory, the host's way into it, serial link, top level, virtual board."""
