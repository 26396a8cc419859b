"""What the command line can do, on one page."""

from __future__ import annotations

import textwrap

from pl_genmodels.cli.verbs import VERBS

LIGHTNING = {
    "fit": "Train a model, from a config or from classes named here.",
    "validate": "Measure a checkpoint on held-out data, as during training.",
    "test": "Measure a checkpoint on the test data.",
    "predict": "Run a checkpoint on the test data.",
}


def overview() -> str:
    """All commands with a line each, and how to begin."""
    ours = {name: str(function.__doc__).splitlines()[0] for name, function in VERBS.items()}
    return "\n".join(
        [
            "usage: python -m pl_genmodels COMMAND [OPTIONS]",
            "",
            "Train a model, and look at its samples:",
            "  python -m pl_genmodels fit --config configs/dcgan.yaml",
            "  python -m pl_genmodels sample --ckpt_path runs/dcgan/version_0/checkpoints/best.ckpt",
            "",
            "Commands with Lightning's options:",
            *_listed(LIGHTNING),
            "",
            "Commands that need a checkpoint only:",
            *_listed({name: line for name, line in ours.items() if name != "list"}),
            "",
            "All systems, each with a config to begin with:",
            *_listed({"list": ours["list"]}),
            "",
            "COMMAND --help tells its options, fit --model.help DCGAN and fit --data.help Digits those of a class.",
        ]
    )


def _listed(commands: dict[str, str]) -> list[str]:
    """A line each, continued below the text where it is long."""
    lines = []
    for name, text in commands.items():
        lines += textwrap.wrap(text, 96, initial_indent=f"  {name:13}", subsequent_indent=" " * 15)
    return lines
