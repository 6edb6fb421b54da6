"""How the codes of a linear's planes are stored: a file per layout with its rule, arrays, writing and reading."""
