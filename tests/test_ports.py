"""What the README says of models from elsewhere is so."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp, softmax

import lucid
from lucid import distributions

README = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")
MIXTURE = "MixtureSameFamily(Categorical(gm.weights_), components)"
ROWS = re.findall(r"^\| `(.*)` \| `(.*gm\..*)` \|$", README, re.MULTILINE)
# A Python expression for each kind of covariances that scikit-learn has.
COMPONENTS = {kind: code for kinds, code in ROWS for kind in kinds.split("`, `")}
K, D = 3, 2


def fitted(kind: str) -> tuple[Any, np.ndarray]:
    """A fitted model's attributes in scikit-learn's shapes, and full covariances."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(K, D, D)) + 2.0 * np.eye(D)
    full = factors @ factors.swapaxes(-1, -2)
    variances = rng.uniform(0.5, 2.0, (K, D))
    given = {
        "full": full,
        "tied": full[0],
        "diag": variances,
        "spherical": variances[:, 0],
    }[kind]
    wide = {
        "full": full,
        "tied": np.broadcast_to(full[0], full.shape),
        "diag": variances[:, :, None] * np.eye(D),
        "spherical": variances[:, :1, None] * np.eye(D),
    }[kind]
    gm = SimpleNamespace(
        weights_=np.array([0.2, 0.3, 0.5]),
        means_=rng.normal(size=(K, D)),
        covariances_=given,
    )
    return gm, wide


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_a_model_of_scikit_learn(kind: str) -> None:
    assert MIXTURE in README
    gm, covariances = fitted(kind)
    names = vars(distributions) | {"gm": gm}
    names["components"] = eval(COMPONENTS[kind], names)
    mixture = eval(MIXTURE, names)
    x = np.random.default_rng(1).normal(size=(100, D))
    joint = np.log(gm.weights_) + np.stack(
        [
            stats.multivariate_normal(mean, covariance).logpdf(x)
            for mean, covariance in zip(gm.means_, covariances, strict=True)
        ],
        axis=-1,
    )
    close = {"rtol": 1e-12, "atol": 1e-14}
    found = mixture.log_prob(x).numpy()
    np.testing.assert_allclose(found, logsumexp(joint, axis=-1), **close)
    found = mixture.posterior(x).probs.numpy()
    np.testing.assert_allclose(found, softmax(joint, axis=-1), **close)
    assert (mixture.posterior_mode(x).numpy() == joint.argmax(axis=-1)).all()


def test_the_names_that_differ_from_torchs() -> None:
    port = README.partition("## Coming from elsewhere")[2].partition("\n## ")[0]
    families = {
        name
        for name, value in vars(distributions).items()
        if isinstance(value, type) and value is not distributions.Distribution
    }
    assert all(name in port for name in families)
    for name in re.findall(r"`lucid\.(\w+)", port):
        assert hasattr(lucid, name)
    assert "`base_distribution`" in port
    assert hasattr(distributions.Independent, "base_distribution")
    assert "`set_default_validate_args`" in port
    assert hasattr(distributions, "set_default_validate_args")
    for missing in ("rsample", "kl_divergence"):  # said not to be there
        assert f"`{missing}`" in port
        assert not hasattr(distributions, missing)
        assert not hasattr(distributions.Distribution, missing)
