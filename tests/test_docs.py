"""What the documents say is so: examples, commands, links and measured figures."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import bench.__main__
import lucid
import lucid.distributions
from bench import render

HOUSE = Path(__file__).resolve().parent.parent
README = (HOUSE / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (HOUSE / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS = dict(
    re.findall(r"^<!-- command: (\w+) -->\n```sh\n(.*)\n```$", README, re.MULTILINE)
)
# The specification's own example, to the letter.
SEED_EXAMPLE = """\
>>> import lucid
>>> from lucid.distributions import MixtureSameFamily, Categorical, Normal
>>> # 2-component Gaussian mixture
>>> mix = Categorical(probs=lucid.tensor([0.3, 0.7]))
>>> comp = Normal(
...     loc=lucid.tensor([-2.0, 2.0]),
...     scale=lucid.tensor([0.5, 1.0]),
... )
>>> dist = MixtureSameFamily(mix, comp)
>>> samples = dist.sample((200,))
>>> samples.shape
(200,)
"""


def modules() -> Iterator[str]:
    """Every module of lucid that documents itself to users, CUDA or not."""
    yield "lucid"
    for found in pkgutil.walk_packages(lucid.__path__, "lucid."):
        if not found.name.startswith("lucid.backends.cupy") and "__main__" not in (
            found.name
        ):
            yield found.name


def check_examples(name: str, text: str) -> int:
    parsed = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    report: list[str] = []
    doctest.DocTestRunner().run(parsed, out=report.append)
    assert not report, "".join(report)
    return len(parsed.examples)


def test_the_readme_example_runs() -> None:
    assert check_examples("README.md", README) >= 5


def test_the_seed_example_runs_and_is_in_the_docstring() -> None:
    assert check_examples("seed", SEED_EXAMPLE) == 7
    documented = inspect.getdoc(lucid.distributions.MixtureSameFamily) or ""
    examples = doctest.DocTestParser().get_examples(documented)
    seed = doctest.DocTestParser().get_examples(SEED_EXAMPLE)
    assert [e.source for e in seed] == [e.source for e in examples][: len(seed)]


@pytest.mark.parametrize("name", list(modules()))
def test_docstring_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    for test in doctest.DocTestFinder().find(module):
        report: list[str] = []
        doctest.DocTestRunner().run(test, out=report.append)
        assert not report, "".join(report)


def public(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Public names of a module, and those of its classes that lucid wrote itself."""
    for name, value in vars(module).items():
        if name.startswith("_") or not callable(value):
            continue
        yield name, value
        if inspect.isclass(value) and value.__module__.startswith("lucid"):
            for member, attribute in vars(value).items():
                if not member.startswith("_") and (
                    inspect.isfunction(attribute) or isinstance(attribute, property)
                ):
                    # A method that a base class documents needs no second text.
                    yield f"{name}.{member}", getattr(value, member)


@pytest.mark.parametrize("module", [lucid, lucid.distributions])
def test_every_public_name_is_documented(module: ModuleType) -> None:
    named = dict(public(module))
    assert [name for name, value in named.items() if not inspect.getdoc(value)] == []
    assert len(named) > 20


def test_each_readme_command_is_one_line_from_nothing() -> None:
    assert set(COMMANDS) == {"demo", "test"}
    for command in COMMANDS.values():
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q ")
    assert COMMANDS["demo"].endswith(" && .venv/bin/lucid score --demo")
    assert COMMANDS["test"].endswith(" && .venv/bin/python -m pytest -n auto")


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_links_and_commands_lead_somewhere(text: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (HOUSE / target).exists(), target
    for name in re.findall(r"python -m bench (\w+)", text):
        assert name in bench.__main__.COMMANDS


DRIFTED = "differs from the measurements: run `python -m bench render`"


def test_figures_are_those_of_the_result_files() -> None:
    for path, text in render.pages(HOUSE).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} {DRIFTED}"


def test_plots_are_those_of_the_result_files() -> None:
    pytest.importorskip("matplotlib")
    plots = render.plots(HOUSE)
    assert set(render.plot_folder(HOUSE).glob("*.svg")) == plots.keys(), DRIFTED
    for path, text in plots.items():
        assert path.read_bytes() == text.encode(), f"{path.name} {DRIFTED}"


def test_each_plot_of_the_results_is_there() -> None:
    folder = HOUSE / "bench" / "results"
    page = (folder / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\]\((plots/[^)]+)\)", page))
    assert {path.relative_to(folder).as_posix() for path in folder.glob("plots/*")} == (
        shown
    )
