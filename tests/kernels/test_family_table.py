"""The CUDA struct of each row of tests/family_table.py against the NumPy formula."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.testing import assert_array_equal

from tests.bounds import bounded
from tests.family_table import (
    DTYPES,
    SCALAR,
    UNIT,
    Row,
    batch,
    finite,
    formula_parameters,
    values,
)
from tests.kernels import calls
from tests.kernels.host import Host


@SCALAR
@DTYPES
def test_cuda_struct_agrees(host: Host, row: Row, dtype: Any) -> None:
    """Compiled for the host: within 8·u·B of NumPy, the same infinities and NaN."""
    given = row.make(dtype)
    x = np.append(values(row)[:, 0], [*row.outside, np.nan, np.inf, -np.inf])
    x = x.astype(dtype)
    expected = given.log_prob(x[:, None]).numpy()
    for k in range(batch(row)):
        here = {n: np.full(len(x), p[k]) for n, p in formula_parameters(given).items()}
        parameters = [p.astype(dtype) for p in here.values()]
        found = calls.log_prob(host, row.name, parameters, x)
        known = np.isfinite(expected[:, k])
        assert_array_equal(found[~known], expected[~known, k])
        error = abs(found[known] - expected[known, k])
        bound = bounded(row.name, finite(here), x).bound[known]
        assert (error <= 8 * UNIT[dtype] * bound).all()
