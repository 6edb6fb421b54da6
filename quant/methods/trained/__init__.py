"""Methods that only gradients make: learned divisors of rounding, tuned scales, straight-through weights."""
