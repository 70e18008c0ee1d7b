"""The function namespace of formulas on the CPU: NumPy, then scipy.special."""

from __future__ import annotations

from typing import Any

import numpy as np


class Functions:
    """NumPy's functions, and the special functions under SciPy's names.

    SciPy is imported when a formula first asks for one: it costs 150–250 ms.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        function = getattr(np, name, None)
        if function is None:
            import scipy.special

            function = getattr(scipy.special, name)
        setattr(self, name, function)
        return function
