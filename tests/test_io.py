"""Models, rows and results in files: exact round trips, and errors that say what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.distributions import Categorical, Independent, MixtureSameFamily, Normal
from lucid.io import DataError, ModelError, open_rows
from lucid.io.numbers import from_json, to_json


def mixture() -> MixtureSameFamily:
    return MixtureSameFamily(
        Categorical(probs=np.array([0.25, 0.75])),
        Normal(np.array([-2.0, 1.5]), np.array([0.5, 3.0])),
    )


# Models


@pytest.mark.parametrize("ending", ["json", "safetensors"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_model_comes_back_bit_for_bit(
    tmp_path: Path, dtype: str, ending: str
) -> None:
    random = np.random.default_rng(1)
    loc = (random.normal(size=(200, 3)) * 1e3).astype(dtype)
    logits = random.normal(size=200).astype(dtype)
    logits[7] = -np.inf
    scale = np.full_like(loc, np.finfo(dtype).smallest_subnormal)
    saved = MixtureSameFamily(
        Categorical(logits=logits), Independent(Normal(loc, scale), 1)
    )
    path = tmp_path / f"model.{ending}"
    lucid.save(saved, path)
    loaded = lucid.load(path)
    assert isinstance(loaded, MixtureSameFamily)
    assert loaded.dtype == np.dtype(dtype)
    assert loaded.event_shape == (3,)
    base: Any = loaded.component_distribution
    base = base.base_distribution
    assert base.loc.numpy().tobytes() == loc.tobytes()
    assert base.scale.numpy().tobytes() == scale.tobytes()
    raw = loaded.mixture_distribution._parameters()["logits"]
    assert raw.tobytes() == logits.tobytes()


@pytest.mark.parametrize("ending", ["json", "safetensors"])
def test_an_expanded_distribution_keeps_its_shape(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"model.{ending}"
    lucid.save(Normal(np.float64(0), np.float64(1)).expand((2, 3)), path)
    assert lucid.load(path).batch_shape == (2, 3)


@pytest.mark.parametrize("ending", ["json", "safetensors"])
def test_strided_parameters_are_saved_by_value(tmp_path: Path, ending: str) -> None:
    loc = np.arange(12.0).reshape(3, 4).T[::2, ::-1]
    path = tmp_path / f"model.{ending}"
    lucid.save(Normal(loc, np.broadcast_to(2.0, (3,))), path)
    loaded: Any = lucid.load(path)
    np.testing.assert_array_equal(loaded.loc.numpy(), loc)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint64"])
def test_numbers_in_json_are_exact(dtype: str) -> None:
    random = np.random.default_rng(2)
    bits = random.integers(0, 256, 8 * 4000, dtype=np.uint8)
    array = bits.view(dtype)[:4000].reshape(40, 100)
    back = from_json(json.loads(json.dumps(to_json(array), allow_nan=False)))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)  # any NaN equals any other


def test_numbers_in_json_are_short() -> None:
    short = to_json(np.array([0.3, 1e-3], np.float32))
    assert short == {"dtype": "float32", "values": [0.3, 0.001]}
    assert to_json(np.array(0.1)) == 0.1


def test_a_model_can_be_loaded_in_another_dtype(tmp_path: Path) -> None:
    lucid.save(mixture(), tmp_path / "m.json")
    assert lucid.load(tmp_path / "m.json", dtype="float32").dtype == np.float32
    lucid.save(Normal(np.array(1e60), np.array(1.0)), tmp_path / "m.json")
    with pytest.raises(ModelError, match="loc: out of the range of float32"):
        lucid.load(tmp_path / "m.json", dtype="float32")


def test_only_lucids_own_distributions_are_saved(tmp_path: Path) -> None:
    class Mine(Normal):
        pass

    with pytest.raises(ValueError, match=r"Mine is not one of.*pickle"):
        lucid.save(Mine(0.0, 1.0), tmp_path / "m.json")
    assert list(tmp_path.iterdir()) == []


def test_infinite_parameters_come_back(tmp_path: Path) -> None:
    lucid.save(Normal(np.array([np.inf]), np.array([1.0])), tmp_path / "m.json")
    loaded: Any = lucid.load(tmp_path / "m.json")
    assert loaded.loc.tolist() == [np.inf]


NORMAL = {"family": "Normal", "loc": 0.0, "scale": 1.0}
WRONG_MODELS = [
    ({"format": "lucid-distribution", "version": 2, "distribution": NORMAL}, "version"),
    ({"format": "pickle", "version": 1, "distribution": NORMAL}, "format"),
    ({"format": "lucid-distribution", "version": 1}, '"family"'),
    ([1], "format"),
    (NORMAL | {"family": "Norml"}, "unknown family 'Norml'; did you mean Normal?"),
    (NORMAL | {"family": "Distribution"}, "unknown family"),
    (NORMAL | {"family": ["Normal"]}, "unknown family"),
    (NORMAL | {"rate": 1.0}, "Normal has no 'rate'"),
    (NORMAL | {"validate_args": 0}, "Normal has no 'validate_args'"),
    (NORMAL | {"scale": 0.0}, "`scale` must be positive"),
    (NORMAL | {"scale": -1.0}, "`scale` must be positive"),
    (NORMAL | {"scale": "nan"}, "`scale` must be positive"),
    (NORMAL | {"scale": "wide"}, "scale: 'wide' is not a number"),
    (NORMAL | {"scale": True}, "scale: True is not a number"),
    (NORMAL | {"scale": None}, "scale: None is not a number"),
    (NORMAL | {"loc": [[1.0], [1.0, 2.0]]}, "loc: the rows of a nested list differ"),
    (NORMAL | {"loc": {"dtype": "float32", "values": [1e39]}}, "out of the range"),
    (NORMAL | {"loc": {"dtype": "O", "values": [1]}}, "unknown dtype 'O'"),
    (NORMAL | {"loc": {"dtype": "float32"}}, "loc: expected numbers"),
    (NORMAL | {"loc": [1.0, 2.0], "scale": [1.0, 1.0, 1.0]}, "broadcast"),
    ({"family": "Categorical", "probs": [0.0, 0.0]}, "probs"),
    ({"family": "Categorical", "probs": [0.5, -0.5]}, "probs"),
    (
        {"family": "Independent", "base_distribution": NORMAL},
        "reinterpreted_batch_ndims",
    ),
]


@pytest.mark.parametrize(("model", "trouble"), WRONG_MODELS)
def test_a_wrong_model_says_why(tmp_path: Path, model: Any, trouble: str) -> None:
    if isinstance(model, dict) and "family" in model:
        model = {"format": "lucid-distribution", "version": 1, "distribution": model}
    path = tmp_path / "m.json"
    path.write_text(json.dumps(model))
    with pytest.raises(ModelError) as raised:
        lucid.load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert trouble in str(raised.value)


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("{", "not a model in JSON"),
        ("[" * 100_000, "not a model in JSON"),
        ('{"a": 1, "a": 2}', "'a' appears twice"),
        ("\xff", "not a model in JSON"),
    ],
)
def test_damaged_json_says_so(tmp_path: Path, text: str, trouble: str) -> None:
    path = tmp_path / "m.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=trouble):
        lucid.load(path)


def test_damaged_safetensors_say_so(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    lucid.save(mixture(), path)
    good = path.read_bytes()
    for damaged in (b"", good[:-3], good + b"x", b"x" * 100):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="not a safetensors file"):
            lucid.load(path)
    numpy_format = pytest.importorskip("safetensors.numpy")
    path.write_bytes(numpy_format.save({"loc": np.zeros(2)}))
    with pytest.raises(ModelError, match='no entry "lucid"'):
        lucid.load(path)


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"\.json or \.safetensors"):
        lucid.save(mixture(), tmp_path / "m.pickle")
    with pytest.raises(FileNotFoundError):
        lucid.load(tmp_path / "none.json")


# Rows


def read(path: Path, size: int = 2, columns: list[str] | None = None) -> Any:
    rows = open_rows(path, columns)
    blocks = list(rows.blocks(size))
    if rows.count is not None:
        assert rows.count == sum(map(len, blocks))
    return np.concatenate([np.empty((0, *rows.row_shape)), *blocks])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "f2", "i8", "u1"])
def test_npy_rows_of_any_layout(tmp_path: Path, dtype: str, order: Any) -> None:
    array = np.arange(14).reshape(7, 2).astype(dtype, order=order)
    np.save(tmp_path / "x.npy", array)
    np.testing.assert_array_equal(read(tmp_path / "x.npy"), array)
    np.testing.assert_array_equal(read(tmp_path / "x.npy", 3, ["1"]), array[:, 1:])
    rows = open_rows(tmp_path / "x.npy")
    assert isinstance(next(iter(rows.blocks(2))).base, np.memmap)


def test_npy_fields_are_columns(tmp_path: Path) -> None:
    array = np.array([(1.0, 2), (3.0, 4)], [("a", "f4"), ("b", "i8")])
    np.save(tmp_path / "x.npy", array)
    swapped = read(tmp_path / "x.npy", 1, ["b", "a"])
    np.testing.assert_array_equal(swapped, [[2, 1], [4, 3]])
    with pytest.raises(DataError, match="no column 'c'; its columns: a, b"):
        open_rows(tmp_path / "x.npy", ["c"])


CSV = {
    "named": ("a,b\n1,2\n3,4\n", [[1, 2], [3, 4]]),
    "unnamed": ("1,2\n3,4", [[1, 2], [3, 4]]),
    "windows": ("\ufeffa,b\r\n1,2\r\n3,4\r\n", [[1, 2], [3, 4]]),
    "blank lines": ("\n\na,b\n\n1,2\n  \n\n\n\n3,4\n\n", [[1, 2], [3, 4]]),
    "quoted": ('"a","b, c"\n"1","2"\n3,4\n', [[1, 2], [3, 4]]),
    "missing": ("a,b\n,NA\nnan,null\n3,4\n", [[np.nan] * 2, [np.nan] * 2, [3, 4]]),
    "spaces": ("a, b\n 1 ,\t2\n3,4e0\n", [[1, 2], [3, 4]]),
    "infinite": ("a,b\ninf,-Infinity\n3,4\n", [[np.inf, -np.inf], [3, 4]]),
    "only names": ("a,b\n", np.empty((0, 2))),
}


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("case", CSV)
def test_csv_rows(tmp_path: Path, case: str, size: int) -> None:
    text, rows = CSV[case]
    (tmp_path / "x.csv").write_bytes(text.encode())
    np.testing.assert_array_equal(read(tmp_path / "x.csv", size), rows)


def test_csv_columns_by_name_and_lines_in_quotes(tmp_path: Path) -> None:
    text = 'id,note,x,"y, z"\n1,"one\nline, two",5,6\n2,plain,7,8\n'
    (tmp_path / "x.csv").write_text(text)
    for size in (1, 2, 3, 9):
        rows = read(tmp_path / "x.csv", size, ["y, z", "id"])
        np.testing.assert_array_equal(rows, [[6, 1], [8, 2]])


def test_csv_numbers_are_read_exactly(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 2**63, 3000).view(np.float64)
    values = values[np.isfinite(values)][: 2 * 1400].reshape(-1, 2)
    text = "\n".join(f"{a!r},{b!r}" for a, b in values.tolist())
    (tmp_path / "x.csv").write_text(text)
    np.testing.assert_array_equal(read(tmp_path / "x.csv", 500), values)


WRONG_CSV = [
    ("a,b\n1,2\n3,x\n", "line 3, column 2: 'x' is not a number"),
    ("a,b\n1,2\n3,1_000\n", "line 3, column 2: '1_000' is not a number"),
    ('a,b\n"1\n",2\n3,x\n', "line 4, column 2: 'x' is not a number"),
    ("a,b\n1,2\n3\n4,5\n", "line 3: 1 cells, expected 2"),
    ("a,b\n1,2\n3,4,5\n", "line 3: 3 cells, expected 2"),
    ("1,2\n3,4,5\n4\n", "line 2: 3 cells, expected 2"),
    ("5.1,1.4,setosa\n", "line 1, column 3: 'setosa' is not a number"),
    ("", "is empty"),
    ("\n\n", "is empty"),
    ("a,b\n1,\xe4\n", "is not text in UTF-8"),
]


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize(("text", "trouble"), WRONG_CSV)
def test_wrong_csv_names_the_line(
    tmp_path: Path, text: str, trouble: str, size: int
) -> None:
    (tmp_path / "x.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as raised:
        read(tmp_path / "x.csv", size)
    assert str(raised.value) == f"{tmp_path / 'x.csv'}: {trouble}"


def test_ragged_lines_are_seen_outside_the_chosen_columns(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4,5\n")
    with pytest.raises(DataError, match="line 3: 3 cells"):
        read(tmp_path / "x.csv", 9, ["a"])


def test_parquet_rows(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    import pyarrow as arrow

    table = {"a": [1.0, None, 3.0], "s": ["x", "y", "z"], "n": [1, 2, None]}
    arrow.parquet.write_table(arrow.table(table), tmp_path / "x.parquet")
    rows = read(tmp_path / "x.parquet", 2, ["n", "a"])
    np.testing.assert_array_equal(rows, [[1, 1], [2, np.nan], [np.nan, 3]])
    with pytest.raises(DataError, match="column 's' holds string, not numbers"):
        open_rows(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_text("PAR1, not really")
    with pytest.raises(DataError, match="not a Parquet file"):
        open_rows(tmp_path / "x.parquet")
