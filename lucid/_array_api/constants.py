"""Constants."""

import math

e = math.e
inf = math.inf
nan = math.nan
newaxis = None
pi = math.pi

__array_api_version__ = "2024.12"
