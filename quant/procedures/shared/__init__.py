"""Work that several devices share: parts with a fixed order of sums, and the processes that carry them."""
