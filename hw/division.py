"""``ceil_divide``: integer division that rounds up, exact for integers of any size."""

__all__ = ["ceil_divide"]


def ceil_divide(dividend: int, divisor: int) -> int:
    """How many pieces of ``divisor`` hold ``dividend``; both whole, the divisor above 0."""
    return -(-dividend // divisor)
