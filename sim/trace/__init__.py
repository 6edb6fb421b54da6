"""The ordered ops of a model's phases, how they are built, fused, stored and measured."""
