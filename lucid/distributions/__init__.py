"""Probability distributions, in torch.distributions' vocabulary."""

from lucid.distributions import constraints as constraints
from lucid.distributions.bernoulli import Bernoulli as Bernoulli
from lucid.distributions.categorical import Categorical as Categorical
from lucid.distributions.distribution import Distribution as Distribution
from lucid.distributions.distribution import (
    set_default_validate_args as set_default_validate_args,
)
from lucid.distributions.gamma import Gamma as Gamma
from lucid.distributions.independent import Independent as Independent
from lucid.distributions.laplace import Laplace as Laplace
from lucid.distributions.mixture_same_family import (
    MixtureSameFamily as MixtureSameFamily,
)
from lucid.distributions.multivariate_normal import (
    MultivariateNormal as MultivariateNormal,
)
from lucid.distributions.normal import Normal as Normal
from lucid.distributions.poisson import Poisson as Poisson
from lucid.distributions.student_t import StudentT as StudentT
from lucid.distributions.uniform import Uniform as Uniform
