"""README as its first reader takes it: every command, every snippet, every link."""

from __future__ import annotations

import functools
import re
import shlex
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.data import DataLoader

from pl_genmodels import cli
from pl_genmodels.cli.lightning import GenerativeCLI
from tests.conftest import ROOT

TEXT = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def commands():
    """Arguments of each command, and what it sets in the environment."""
    for block in blocks("bash"):
        for line in block.replace("\\\n", " ").splitlines():
            before, found, after = line.rpartition("-m pl_genmodels ")
            if found:
                variables = dict(word.split("=", 1) for word in before.split() if re.fullmatch(r"[A-Z_]+=\S+", word))
                yield pytest.param(shlex.split(after, comments=True), variables, id=re.sub(r"\W+", "_", after)[:60])


class TakenError(Exception):
    """The command line has understood the command."""


@pytest.mark.parametrize(("arguments", "variables"), list(commands()))
def test_a_command_is_understood(arguments, variables, tmp_path, monkeypatch):
    """Up to the point where it would read the checkpoint, or build the model: what comes then has tests of its own."""

    def take(*given, **options):
        raise TakenError

    monkeypatch.chdir(tmp_path)
    Path("my_changes.yaml").write_text("trainer: {max_epochs: 3}\n")
    Path("configs").symlink_to(ROOT / "configs")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if arguments[0] in cli.VERBS:
        monkeypatch.setitem(cli.VERBS, arguments[0], functools.wraps(cli.VERBS[arguments[0]])(take))
    monkeypatch.setattr(GenerativeCLI, "_parse_ckpt_path", lambda self: None)
    monkeypatch.setattr(GenerativeCLI, "before_instantiate_classes", take)
    with pytest.raises((TakenError, SystemExit)) as end:
        cli.main(arguments)
    assert isinstance(end.value, TakenError) or end.value.code == 0, "--help and its like leave with 0"


@pytest.mark.parametrize("block", blocks("yaml"))
def test_a_config_is_understood(block, tmp_path, capsys):
    path = tmp_path / "snippet.yaml"
    path.write_text(block)
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", "--config", str(path), "--data", "Digits", "--print_config"])
    assert end.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]


@pytest.mark.parametrize("block", blocks("python"))
def test_python_runs_as_printed(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    your_datamodule = DataLoader(list(torch.rand(8, 1, 16, 16) * 2 - 1), batch_size=4)
    names = {"your_datamodule": your_datamodule, "__name__": "readme"}
    exec(block.replace("max_steps=10_000", "max_steps=1, logger=False, enable_checkpointing=False"), names)


def test_links_lead_somewhere():
    titles = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in titles, target
        elif not target.startswith("http"):
            assert (ROOT / target).exists(), target
