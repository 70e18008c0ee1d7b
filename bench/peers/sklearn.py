"""scikit-learn's GaussianMixture with its parameters set instead of fitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from ..workloads import Workload
from . import NotApplicableError, Peer

Function = Callable[..., Any]


class ScikitLearn(Peer):
    """Diagonal covariances; numbers are vectors of length one."""

    def __init__(self, device: str, threads: int) -> None:
        super().__init__(device, threads)
        if device != "cpu":
            raise NotApplicableError("is measured on the CPU")
        threadpool_limits(threads)  # of the matrix product, for as long as this runs
        # "Configuring Scikit-learn for reduced validation overhead", in its guide.
        sklearn.set_config(assume_finite=True)

    def scalar(self, weights: Any, loc: Any, scale: Any) -> Function:
        score = _model(weights, loc[:, None], scale[:, None]).score_samples
        return lambda value: score(value.reshape(-1, 1)).reshape(value.shape)

    single = scalar

    def diagonal(self, weights: Any, loc: Any, scale: Any) -> Function:
        score: Function = _model(weights, loc, scale).score_samples
        return lambda value: score(value)

    def draws(self, weights: Any, loc: Any, scale: Any, count: int) -> Function:
        # Its multinomial wants weights whose float64 sum does not exceed 1.
        wide = weights.astype(np.float64)
        model = _model(wide / wide.sum(), loc[:, None], scale[:, None])
        return lambda seed: model.sample(count)[0][:, 0]

    def note(self, workload: Workload) -> str:
        draws = workload.cell.case == "draws"
        return "its draws come in the order of the components" if draws else ""


def _model(weights: Any, loc: Any, scale: Any) -> Any:
    model = GaussianMixture(weights.size, covariance_type="diag")
    model.weights_ = weights
    model.means_ = loc
    model.covariances_ = scale**2
    model.precisions_cholesky_ = 1 / scale
    model.n_features_in_ = loc.shape[1]
    return model
