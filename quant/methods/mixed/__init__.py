"""Methods whose columns have codes of different widths: bits by salience, a structured mask."""
