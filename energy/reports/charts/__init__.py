"""Figures of the pages as SVG: bars, waterfalls, planes; colours and scales."""
