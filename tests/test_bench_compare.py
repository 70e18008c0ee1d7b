"""`lucid bench compare`: what counts as a change, and which files it refuses."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as entry
from bench import compare
from tests.results_document import DOCUMENT, DRAWS, GPU, LATENCY, failed, measured


def compared(
    tmp_path: Path, new: dict[str, Any], *options: str, old: dict[str, Any] = DOCUMENT
) -> int:
    for name, text in (("old", old), ("new", new)):
        (tmp_path / f"{name}.json").write_text(json.dumps(text), encoding="utf-8")
    files = [str(tmp_path / f"{name}.json") for name in ("old", "new")]
    return entry.main(["compare", *files, *options])


def changed(name: str, **to: Any) -> dict[str, Any]:
    """The document with other measurements of one participant of the first cell."""
    new = copy.deepcopy(DOCUMENT)
    new["results"][0]["participants"][name].update(to)
    return new


@pytest.mark.parametrize(
    ("median", "quartiles", "verdict"),
    [
        # The old one is 20 ms, between 19.8 and 20.2.
        (0.0212, [0.0203, 0.022], "slower"),
        (0.0212, [0.0202, 0.022], "unchanged"),  # the intervals touch
        (0.0209, [0.0206, 0.0211], "unchanged"),  # apart, but by less than 5 %
        (0.0211, [0.0206, 0.0212], "slower"),
        (0.019, [0.0185, 0.0197], "faster"),
        (0.019, [0.0185, 0.0198], "unchanged"),
        (0.0191, [0.019, 0.0192], "unchanged"),
        (0.04, [0.01, 0.05], "unchanged"),
    ],
)
def test_a_change_is_one_beyond_the_spread(
    tmp_path: Path,
    median: float,
    quartiles: list[float],
    verdict: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    new = changed("lucid", median_seconds=median, quartiles=quartiles)
    assert compared(tmp_path, new) == 0
    assert compared(tmp_path, new, "--fail-on-slower") == int(verdict == "slower")
    out, err = capsys.readouterr()
    assert err == ""
    told = re.findall(r"^(\w[\w ]+) \(1\):\n  lucid: scalar, float32, N = ", out, re.M)
    assert told == ([verdict] * 2 if verdict != "unchanged" else [])
    # Of 18 entries in all; JAX, who was never there, is none.
    assert f"unchanged: {18 - (verdict != 'unchanged')}\n" in out


def test_a_slower_peer_fails_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = changed("torch", median_seconds=0.16, quartiles=[0.15, 0.17])
    assert compared(tmp_path, new, "--fail-on-slower") == 0
    assert "80.0 ms [79.2, 80.8] → 160 ms [150, 170] (2.00 times the time)" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("status", ["wrong", "failed", "out of memory"])
def test_what_failed_since_is_no_improvement(
    tmp_path: Path, status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = changed("lucid", **failed(status))
    assert compared(tmp_path, broken, "--fail-on-slower") == 1
    assert compared(tmp_path, DOCUMENT, "--fail-on-slower", old=broken) == 0
    first, second = capsys.readouterr().out.split("unchanged: 17\n", 1)
    assert first.startswith("no longer measured (1):\n  lucid: scalar, float32, ")
    assert first.endswith(f"→ {status}\n")
    assert second.startswith("measured now (1):\n")


def test_what_came_and_went_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = changed("jax", **measured(0.03))
    new["results"].remove(LATENCY)
    new["machine"]["cores"] = 4
    new["versions"]["jax"] = "0.8"
    new["threads"] = 4
    assert compared(tmp_path, new) == 0
    out, err = capsys.readouterr()
    appeared = "JAX: scalar, float32, N = 1,000,000, K = 8: not installed → 30.0 ms"
    assert f"only in NEW (1):\n  {appeared}" in out
    assert "only in OLD (2):\n  lucid: single, float32, N = 1, K = 8: 0.02 ms" in out
    assert err.splitlines() == [
        "warning: machine: cores was 2, is 4",
        "warning: versions: jax was absent, is 0.8",
        "warning: threads was 2, is 4",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory"),
        ("{", "it is not JSON ("),
        ("[1]", "it is JSON without a list named 'results'"),
        (json.dumps(DOCUMENT | {"results": GPU}), "without a list named 'results'"),
        (json.dumps(DOCUMENT | {"machine": 1}), "it has no 'machine'"),
        (json.dumps(DOCUMENT | {"device": "tpu"}), "its 'device' is neither cpu nor"),
        (
            json.dumps(DOCUMENT | {"results": [DRAWS, {"suite": "mdn"}]}),
            "results[1] is not a measured cell: no 'case'",
        ),
        (
            json.dumps(changed("lucid", quartiles=[2.0, 1.0])),
            "results[0] is not a measured cell: the times of lucid are not",
        ),
        ("[" * 200_000, "it is not JSON ("),
        (
            json.dumps({k: v for k, v in DOCUMENT.items() if k != "date"}),
            "it has no 'date'",
        ),
        (json.dumps(DOCUMENT | {"machine": {"cpu": "C"}}), "it has no 'cores'"),
        *(
            (
                json.dumps(DOCUMENT | {"results": [DRAWS | junk]}),
                "results[0] is not a measured cell: ",
            )
            for junk in (
                {"participants": [1]},
                {"participants": {"lucid": {"status": "ok", "quartiles": None}}},
                {"n": "many"},
                {"k": [16]},
                {"amount": 10**400},
            )
        ),
        (
            json.dumps(DOCUMENT | {"results": [DRAWS, DRAWS]}),
            "results[1] is the same cell as one before it",
        ),
    ],
)
def test_a_file_that_is_no_result_is_named(
    tmp_path: Path, text: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(DOCUMENT), encoding="utf-8")
    if text is not None:
        bad.write_text(text, encoding="utf-8")
    for name, files in (("OLD", (bad, good)), ("NEW", (good, bad))):
        with pytest.raises(SystemExit) as ended:
            compare.main([str(path) for path in files])
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert f"{name}.json: expected a file of results, but {bad}: " in error
        assert said in error
        assert error.endswith("`lucid bench --json FILE` writes one\n")
