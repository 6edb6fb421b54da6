"""Host side of a whole-token machine on a board: its frames, loading a program's image, tokens in and out."""
