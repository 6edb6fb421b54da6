"""Finished results as rows for pandas, polars and spreadsheets: by op, phase, point of a study, recorded input."""
