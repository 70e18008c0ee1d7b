"""The command `lucid`, end to end: what it prints, writes, and exits with."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.backends import cuda_status
from lucid.backends.numpy import engine
from lucid.cli import main, score
from lucid.distributions import Categorical, Independent, MixtureSameFamily, Normal

DATA = Path(lucid.__file__).parent / "data"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model and data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUCID_DEVICE", "cpu")
    weights, scale = [0.25, 0.75], np.ones(2)
    model = MixtureSameFamily(
        Categorical(probs=np.array(weights)), Normal(np.array([-2.0, 2.0]), scale)
    )
    lucid.save(model, "model.json")
    values = np.random.default_rng(0).normal(size=1000)
    values[:3] = np.nan, np.inf, np.nan
    np.save("data.npy", values)
    Path("data.csv").write_text("id,x\n1,0.5\n2,1.5\n")
    return tmp_path


@pytest.fixture
def new_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """LUCID_CPU is read as in a new process."""
    monkeypatch.setattr(engine, "_chosen", None)
    engine._from_environment.cache_clear()
    engine._numba.cache_clear()
    yield
    engine._from_environment.cache_clear()
    engine._numba.cache_clear()


def lucid_says(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code, and all of stderr for a failure, stdout for a success."""
    code = main(arguments)
    out, err = capsys.readouterr()
    assert (err if code == 0 else out) == ""
    return code, out if code == 0 else err


def summary(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(.{20}) (.*)$", text, re.MULTILINE))


# What works


def test_a_score(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = lucid_says(capsys, "score", "model.json", "data.npy", "-o", "out.npy")
    assert code == 0
    found = {name.strip(): value for name, value in summary(text).items()}
    assert found["rows"] == "1,000"
    assert found["rows at -inf"] == "1"
    assert found["NaN rows"] == "2"
    assert found["device"] == "cpu (float64)"
    scores = np.load("out.npy")
    finite = scores[np.isfinite(scores)]
    assert finite.size == 997
    assert float(found["mean log-likelihood"].split()[0]) == pytest.approx(
        finite.mean(), rel=1e-5
    )
    assert float(found["minimum"].split()[0]) == pytest.approx(finite.min(), rel=1e-5)


def test_all_options(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    options = "--columns x --device cpu --dtype float32 --block-rows 1"
    more = "--responsibilities --plot picture.png"
    line = f"score model.json data.csv -o out.csv {options} {more}"
    assert main(line.split()) == 0
    names, *rows = Path("out.csv").read_text().splitlines()
    assert names == "log_prob,component,probability"
    assert [row.split(",")[1] for row in rows] == ["1", "1"]
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")
    assert "cpu (float32)" in capsys.readouterr().out


@pytest.mark.parametrize("components", [1, 3, 30])
@pytest.mark.parametrize("rows", [0, 1, 50_000])
def test_plots_of_points(folder: Path, rows: int, components: int) -> None:
    pytest.importorskip("matplotlib")
    loc = np.arange(2.0 * components).reshape(-1, 2)
    model = MixtureSameFamily(
        Categorical(probs=np.ones(components)),
        Independent(Normal(loc, np.ones_like(loc)), 1),
    )
    lucid.save(model, "plane.json")
    np.save("plane.npy", np.random.default_rng(0).normal(size=(rows, 2)))
    line = "score plane.json plane.npy -o out.npy --plot picture.svg"
    assert main(line.split()) == 0
    picture = Path("picture.svg").read_text()
    assert "<svg" in picture


def test_the_demo_gives_the_published_log_likelihood(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "_DEMO_DRAWS", 100_000)
    code, text = lucid_says(capsys, "score", "--demo", "--device", "cpu")
    assert code == 0
    real, drawn = text.split("\n\n")
    found = {name.strip(): value for name, value in summary(real).items()}
    assert found["rows"] == "272"
    assert found["log-likelihood"] == "-1034.002"
    found = {name.strip(): value for name, value in summary(drawn).items()}
    assert found["rows"] == "100,000"
    # The draws' own entropy; the standard error of this mean is 0.002.
    assert float(found["mean log-likelihood"]) == pytest.approx(-3.80, abs=0.02)


def test_the_demo_is_the_main_job_on_package_data(folder: Path) -> None:
    line = f"score {DATA}/faithful.json {DATA}/faithful.csv --columns waiting"
    assert main([*line.split(), "-o", "out.npy"]) == 0
    assert np.load("out.npy").sum() == pytest.approx(-1034.002, abs=5e-4)


def test_info(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = lucid_says(capsys, "info")
    assert code == 0
    assert re.search(r"^used +cpu \(LUCID_DEVICE=cpu\)$", text, re.MULTILINE)
    assert re.search(rf"^numpy +{re.escape(np.__version__)}$", text, re.MULTILINE)
    assert (cuda_status().reason or cuda_status().devices[0]) in text


def test_info_survives_a_wrong_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCID_DEVICE", "gpu")
    monkeypatch.setenv("LUCID_NUM_THREADS", "many")
    code, text = lucid_says(capsys, "info")
    assert code == 0
    assert "LUCID_DEVICE" in text
    assert "LUCID_NUM_THREADS" in text


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert raised.value.code == 0
    assert capsys.readouterr().out == f"lucid {lucid.__version__}\n"


@pytest.mark.parametrize("command", [[], ["score"], ["info"]])
def test_help_lists_the_exit_codes(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main([*command, "--help"])
    assert raised.value.code == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^  {code} ", text, re.M) for code in (*range(7), 130, 143))


# What fails: one line, the right code, nothing written


def broken_models() -> dict[str, Any]:
    good = json.loads((DATA / "faithful.json").read_text())

    def changed(**changes: Any) -> Any:
        model = json.loads(json.dumps(good))
        model["distribution"]["component_distribution"].update(changes)
        return model

    weightless = changed()
    weightless["distribution"]["mixture_distribution"]["probs"] = [0.0, 0.0]
    batch = good["distribution"]["component_distribution"]
    return {
        "family.json": changed(family="Nrmal"),
        "scale.json": changed(scale=[1.0, 0.0]),
        "extra.json": changed(rate=[1.0, 2.0]),
        "version.json": good | {"version": 99},
        "weights.json": weightless,
        "batch.json": good | {"distribution": batch},
    }


FAILURES = [
    # model, data, further options, exit code, the file named, what is said
    ("model.json", "none.npy", "", 4, "none.npy", "No such file"),
    (
        "model.json",
        "plane.npy",
        "",
        4,
        "plane.npy",
        "3 columns, but the model scores 1",
    ),
    ("model.json", "complex.npy", "", 4, "complex.npy", "complex128"),
    ("model.json", "text.npy", "", 4, "text.npy", "<U1"),
    ("model.json", "short.npy", "", 4, "short.npy", "truncated"),
    ("model.json", "long.npy", "", 4, "long.npy", "oversized"),
    ("model.json", "pickle.npy", "", 4, "pickle.npy", "pickled"),
    ("model.json", "model.json", "", 4, "model.json", "must end in one of"),
    ("model.json", "empty.npy", "", 4, "empty.npy", "not a .npy file"),
    ("model.json", "data.csv", "--columns y", 4, "data.csv", "no column 'y'"),
    ("model.json", "data.csv", "", 4, "data.csv", "2 columns"),
    ("model.json", "data.csv", "", 4, "data.csv", "(in the command, --columns)"),
    ("model.json", "words.csv", "--columns x", 4, "words.csv", "line 3, column 2: 'b'"),
    ("none.json", "data.npy", "", 3, "none.json", "No such file"),
    ("data.npy", "data.npy", "", 3, "data.npy", "must end in"),
    ("family.json", "data.npy", "", 3, "family.json", "did you mean Normal?"),
    ("scale.json", "data.npy", "", 3, "scale.json", "`scale` must be positive"),
    ("extra.json", "data.npy", "", 3, "extra.json", "no 'rate'"),
    ("version.json", "data.npy", "", 3, "version.json", "99"),
    ("weights.json", "data.npy", "", 3, "weights.json", "probs"),
    ("batch.json", "data.npy", "", 3, "batch.json", "batch_shape (2,)"),
    ("model.json", "data.npy", "-o data.npy", 5, "data.npy", "also an input"),
    ("model.json", "data.npy", "-o out.txt", 5, "out.txt", "must end in"),
    ("model.json", "data.npy", "-o no/out.npy", 5, "no/out.npy", "No such file"),
    ("model.json", "data.npy", "--plot a.txt", 5, "a.txt", "must end in"),
    ("model.json", "data.npy", "--plot no/a.png", 5, "no/a.png", "No such file"),
    ("model.json", "data.npy", "--demo", 2, "", "--demo brings its own"),
]


@pytest.mark.parametrize(("model", "data", "more", "code", "named", "said"), FAILURES)
def test_failures(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
    data: str,
    more: str,
    code: int,
    named: str,
    said: str,
) -> None:
    for name, content in broken_models().items():
        Path(name).write_text(json.dumps(content))
    np.save("plane.npy", np.zeros((4, 3)))
    np.save("complex.npy", np.zeros(3, complex))
    np.save("text.npy", np.array(["a"]))
    np.save("pickle.npy", np.array([{}, []], object), allow_pickle=True)
    good = Path("data.npy").read_bytes()
    Path("short.npy").write_bytes(good[:-1])
    Path("long.npy").write_bytes(good + b"\0")
    Path("empty.npy").touch()
    Path("words.csv").write_text("id,x\n1,2\n2,b\n")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    line = f"score {model} {data} -o out.npy {more}"
    found, text = lucid_says(capsys, *line.split())
    assert found == code
    assert text.startswith("lucid: error: " + (f"{named}: " if named else ""))
    assert said in text
    assert text.count("\n") == 1
    after = {path: path.read_bytes() for path in folder.iterdir()}
    if "--plot no" in more:  # the scores were complete before
        after.pop(folder / "out.npy")
    assert after == before


@pytest.mark.parametrize(
    "line", ["score", "score model.json", "score model.json data.npy"]
)
def test_too_few_arguments(
    folder: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    code, text = lucid_says(capsys, *line.split())
    assert code == 2
    assert "MODEL, DATA and -o SCORES" in text


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--device=gpu", "a device is 'cpu', 'cuda' or 'cuda:1', not 'gpu'"),
        ("--block-rows=0", "must be an int of at least 1, got '0'"),
        ("--block-rows=many", "must be an int of at least 1, got 'many'"),
        ("--columns=", "needs the name of a column"),
        ("--dtype=int8", "'int8'"),
    ],
)
def test_options_out_of_range(
    folder: Path, capsys: pytest.CaptureFixture[str], option: str, said: str
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["score", "model.json", "data.npy", "-o", "out.npy", option])
    assert raised.value.code == 2
    name = option.partition("=")[0]
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"lucid score: error: argument {name}: ")
    assert said in error


@pytest.mark.parametrize("name", ["LUCID_DEVICE", "LUCID_NUM_THREADS", "LUCID_CPU"])
def test_a_wrong_environment(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    new_engine: None,
    name: str,
) -> None:
    monkeypatch.setenv(name, "many")
    code, text = lucid_says(capsys, "score", "model.json", "data.npy", "-o", "out.npy")
    assert code == 2
    assert name in text


def test_numba_asked_for_and_not_there(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    new_engine: None,
) -> None:
    monkeypatch.setenv("LUCID_CPU", "numba")
    monkeypatch.setitem(sys.modules, "numba", None)
    code, text = lucid_says(capsys, "score", "model.json", "data.npy", "-o", "out.npy")
    assert code == 6
    assert "LUCID_CPU asks for numba" in text
    assert not Path("out.npy").exists()
