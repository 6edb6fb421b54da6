"""What becomes of sums behind the accumulator: int8 where it is asked, and the queue that they leave by."""
