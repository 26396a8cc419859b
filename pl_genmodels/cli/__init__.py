"""The command line: Lightning's commands on our models and data, and our own that need a checkpoint only."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence

from lightning.pytorch.utilities.exceptions import SIGTERMException

from pl_genmodels import __version__
from pl_genmodels.cli.configs import with_configs
from pl_genmodels.cli.errors import fail, sentence_for
from pl_genmodels.cli.lightning import GenerativeCLI
from pl_genmodels.cli.overview import overview
from pl_genmodels.cli.verbs import VERBS, run_verb

__all__ = ["GenerativeCLI", "main"]


def _quieten() -> None:
    """Leave out messages that tell a user of this package nothing."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch"):
        logging.getLogger(name).addFilter(lambda record: "Tip:" not in record.getMessage())
    for message in (
        "does not have many workers",
        "LeafSpec",
        "no pre-optimization state was saved",
        "sync_dist=True",
        "args parameter is intended to run from within Python",
        r"module\(s\) in eval mode at the start",
        "exists and is not empty",
    ):
        warnings.filterwarnings("ignore", f".*{message}")


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    A user's mistake ends in one sentence and exit status 1 or 2, Ctrl-C in 130 and SIGTERM in 143.

    Args:
        args: Arguments after the program's name; those of the process by default.
    """
    _quieten()
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        if arguments and arguments[0] in ("-h", "--help", "help"):
            print(overview())
        elif arguments and arguments[0] == "--version":
            print(f"pl_genmodels {__version__}")
        elif arguments and arguments[0] in VERBS:
            run_verb(arguments[0], arguments[1:])
        else:
            found = with_configs(arguments)
            GenerativeCLI(args if found == arguments else found)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except SIGTERMException:
        sys.exit(128 + signal.SIGTERM)
    except SystemExit as end:  # Lightning's answer to Ctrl-C
        sys.exit(128 + signal.SIGINT if isinstance(end.__context__, KeyboardInterrupt) else end.code)
    except Exception as error:
        sentence = sentence_for(error)
        if sentence is None or os.environ.get("PL_GENMODELS_TRACEBACK"):
            raise
        fail(sentence)
