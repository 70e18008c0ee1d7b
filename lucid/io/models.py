"""Distributions in files: JSON that people can read, or safetensors.

    {
      "format": "lucid-distribution",
      "version": 1,
      "distribution": {
        "family": "MixtureSameFamily",
        "mixture_distribution": {"family": "Categorical", "probs": [0.3, 0.7]},
        "component_distribution": {"family": "Normal", "loc": [-2, 2], "scale": [1, 3]}
      }
    }

A family's keys are the arguments of its constructor, and batch_shape where that is
larger than its parameters' (see Distribution.expand). In a .safetensors file the same
text, with {"tensor": name} in place of the arrays, is the metadata entry "lucid".
"""

from __future__ import annotations

import difflib
import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

import lucid.distributions
from lucid import backends
from lucid._device import Device
from lucid._tensor import asarray
from lucid.distributions import Distribution
from lucid.io.errors import ModelError, Path, optional
from lucid.io.numbers import from_json, to_json
from lucid.io.writer import NewFile

_FORMAT = "lucid-distribution"
_VERSION = 1
_ENTRY = "lucid"

# Stores the array of a dotted name, and gives what stands for it in the JSON.
_Put = Callable[[str, NDArray[Any]], Any]


def save(distribution: Distribution, path: Path) -> None:
    """Write a distribution to a .json or .safetensors file, exactly.

    `load` gives back the same parameters, to the bit, in the same dtypes. Raises
    ValueError for a distribution from elsewhere, ModelError for another ending,
    OutputError where the file cannot be written.
    """
    if _suffix(path) == ".json":
        described = _described(distribution, "", lambda _, array: to_json(array))
        content = _text(_envelope(described)).encode() + b"\n"
    else:
        safetensors = optional("safetensors.numpy", "this model file", "safetensors")
        tensors: dict[str, NDArray[Any]] = {}

        def put(name: str, array: NDArray[Any]) -> Any:
            # Its writer takes the memory as it lies, whatever the strides.
            tensors[name] = np.array(array, order="C")
            return {"tensor": name}

        described = _described(distribution, "", put)
        metadata = {_ENTRY: json.dumps(_envelope(described))}
        content = safetensors.save(tensors, metadata)
    new = NewFile(path)
    with new as file, new.reported():
        file.write(content)


def load(
    path: Path,
    *,
    device: Device | str | None = None,
    dtype: DTypeLike | None = None,
    validate_args: bool | None = None,
) -> Distribution:
    """Read a distribution from a file that `save`, or a person, has written.

    device  where its parameters go; the default device if None
    dtype   float16, float32 or float64, for parameters of any floating dtype
    Raises ModelError for what is not such a file, OSError for a missing one.
    """
    content: str | bytes
    tensors: dict[str, NDArray[Any]] | None = None
    if _suffix(path) == ".json":
        with open(path, "rb") as file:
            content = file.read()
    else:
        content, tensors = _read_safetensors(path)
    builder = _Builder(os.fspath(path), tensors, device, dtype, validate_args)
    try:
        model = json.loads(content, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise ModelError(path, f"not a model in JSON: {error}") from None
    distribution = builder.build(_opened(path, model), "")
    if tensors:
        raise ModelError(path, f"no parameter is the tensor {min(tensors)!r}")
    return distribution


class _Builder:
    """Distributions from their descriptions, with errors that name the place."""

    def __init__(
        self,
        path: str,
        tensors: dict[str, NDArray[Any]] | None,
        device: Device | str | None,
        dtype: DTypeLike | None,
        validate_args: bool | None,
    ) -> None:
        self._path = path
        self._tensors = tensors
        self._device = device
        self._dtype = None if dtype is None else np.dtype(dtype)
        self._validate_args = validate_args

    def build(self, node: Any, place: str) -> Distribution:
        """The distribution that an object with the key "family" describes."""
        if not isinstance(node, dict) or "family" not in node:
            raise self._error(place, 'expected an object with the key "family"')
        cls = self._family(node["family"], place)
        taken = inspect.signature(cls).parameters.keys()
        arguments: dict[str, Any] = {}
        for key, value in node.items():
            if key in {"family", "batch_shape"}:
                continue
            if key not in taken or key == "validate_args":
                known = ", ".join(name for name in taken if name != "validate_args")
                trouble = f"{cls.__name__} has no {key!r}; it has {known}"
                raise self._error(place, trouble)
            arguments[key] = self._argument(cls, key, value, _joined(place, key))
        if "validate_args" in taken:
            arguments["validate_args"] = self._validate_args
        try:
            built = cls(**arguments)
            return built.expand(node["batch_shape"]) if "batch_shape" in node else built
        except (ValueError, TypeError) as error:
            raise self._error(place, str(error)) from None

    def _argument(self, cls: type, key: str, value: Any, place: str) -> Any:
        if isinstance(value, dict) and "family" in value:
            return self.build(value, place)
        if key in getattr(cls, "arg_constraints", {}):
            return self._parameter(value, place)
        # What is neither is a count, such as Independent's.
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise self._error(place, "expected an integer or a distribution")

    def _parameter(self, value: Any, place: str) -> Any:
        if self._tensors is not None:
            name = value.get("tensor") if isinstance(value, dict) else None
            if not isinstance(name, str) or name not in self._tensors:
                raise self._error(place, f"the file has no tensor {name!r}")
            array = self._tensors.pop(name)
        else:
            try:
                array = from_json(value)
            except ValueError as error:
                raise self._error(place, str(error)) from None
        if self._dtype is not None and array.dtype.kind == "f":
            with np.errstate(all="ignore"):
                converted = array.astype(self._dtype)
            if not (np.isfinite(converted) == np.isfinite(array)).all():
                raise self._error(place, f"out of the range of {self._dtype}")
            array = converted
        return asarray(array, device=self._device)

    def _family(self, name: Any, place: str) -> type[Distribution]:
        known = _families()
        if isinstance(name, str) and name in known:
            return known[name]
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        raise self._error(place, f"unknown family {name!r}; {hint}")

    def _error(self, place: str, trouble: str) -> ModelError:
        return ModelError(self._path, f"{place}: {trouble}" if place else trouble)


def _families() -> dict[str, type[Distribution]]:
    """The public distributions by name: a closed set, never a name to import."""
    return {
        name: value
        for name, value in vars(lucid.distributions).items()
        if isinstance(value, type)
        and issubclass(value, Distribution)
        and value is not Distribution
    }


def _described(distribution: Distribution, place: str, put: _Put) -> dict[str, Any]:
    cls: Any = type(distribution)
    if cls not in _families().values():
        raise ValueError(
            f"{cls.__name__} is not one of lucid's own distributions, the only ones "
            "that a model file describes; pickle keeps a distribution of your own"
        )
    node: dict[str, Any] = {"family": cls.__name__}
    parameters = distribution._parameters()
    unexpanded = cls(**parameters, validate_args=False)
    if unexpanded.batch_shape != distribution.batch_shape:
        node["batch_shape"] = list(distribution.batch_shape)
    for name, value in parameters.items():
        inside = _joined(place, name)
        if isinstance(value, Distribution):
            node[name] = _described(value, inside, put)
        elif isinstance(value, int):
            node[name] = value
        else:
            node[name] = put(inside, backends.of(value).to_numpy(value))
    return node


def _envelope(described: dict[str, Any]) -> dict[str, Any]:
    return {"format": _FORMAT, "version": _VERSION, "distribution": described}


def _opened(path: Path, model: Any) -> Any:
    """What the envelope holds."""
    if not isinstance(model, dict) or model.get("format") != _FORMAT:
        raise ModelError(path, f'not a model: its "format" is not "{_FORMAT}"')
    version = model.get("version")
    if version != _VERSION or isinstance(version, bool):
        trouble = f"its version is {version!r}; this lucid reads version {_VERSION}"
        raise ModelError(path, trouble)
    extra = model.keys() - {"format", "version", "distribution"}
    if extra:
        raise ModelError(path, f"unknown key {min(extra)!r} beside the distribution")
    return model.get("distribution")


def _read_safetensors(path: Path) -> tuple[str, dict[str, NDArray[Any]]]:
    safetensors = optional("safetensors", "this model file", "safetensors")
    with open(path, "rb"):  # the system's own words for a file that is not there
        pass
    try:
        with safetensors.safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, TypeError) as error:
        # A TypeError tells of a dtype that NumPy does not have.
        raise ModelError(path, f"not a safetensors file: {error}") from None
    if _ENTRY not in metadata:
        trouble = f'not a model: its metadata has no entry "{_ENTRY}"'
        raise ModelError(path, trouble)
    return metadata[_ENTRY], tensors


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {repeated!r} appears twice in one object")
    return found


def _text(node: Any, indent: str = "") -> str:
    """JSON with a line for each key, and every array on one line."""
    if not isinstance(node, dict) or "values" in node:
        return json.dumps(node, allow_nan=False)
    deeper = f"{indent}  "
    lines = (f"{deeper}{json.dumps(k)}: {_text(v, deeper)}" for k, v in node.items())
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _suffix(path: Path) -> str:
    suffix = FilePath(path).suffix.lower()
    if suffix not in {".json", ".safetensors"}:
        raise ModelError(path, "the name of a model must end in .json or .safetensors")
    return suffix
