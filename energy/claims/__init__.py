"""Where the literature's two figures hold, from one multiply-accumulate to whole tokens of whole models."""
