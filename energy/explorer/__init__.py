"""Explorer: a local web page whose sliders and choices redraw one design beside its rivals."""
