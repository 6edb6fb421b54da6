"""The check of a recording that tests of whole jobs and of the recorder share."""

import numpy as np

from hw.golden import group_sums
from quant.recording import sums_digest


def assert_sums_are_golden(recording, checkpoint):
    """Every linear's digest is that of the golden model's sums of recorded activations and stored trits."""
    for record in recording.linears:
        linear = checkpoint.linear(record.layer, record.kind)
        q = linear.columns(recording.activations(record))
        sums = np.stack([group_sums(q, plane, linear.group) for plane in linear.trits])
        assert sums_digest(sums) == record.sums_sha256
