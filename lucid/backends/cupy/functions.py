"""The function namespace of formulas on a GPU: CuPy, then cupyx.scipy.special."""

from __future__ import annotations

from typing import Any


class Functions:
    """CuPy's functions, and the special functions under SciPy's names."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        import cupy

        function = getattr(cupy, name, None)
        if function is None:
            import cupyx.scipy.special

            function = getattr(cupyx.scipy.special, name)
        setattr(self, name, function)
        return function
