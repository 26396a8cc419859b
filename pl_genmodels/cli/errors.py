"""A user's mistake as one sentence and an exit status, a defect of the program as a traceback."""

from __future__ import annotations

import copy
import errno
import re
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import Namespace
from jsonargparse._typehints import sub_defaults
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from pl_genmodels.cli.explaining import explain
from pl_genmodels.models.ranks import names_lost_rank

PACKAGE = str(Path(__file__).parent.parent)


def _is_spec(value: Any) -> bool:
    """Whether a value names a class."""
    return isinstance(value, (dict, Namespace)) and "class_path" in value


def _unfilled(value: Any) -> Any:
    """A copy of a value in which specifications of classes are as jsonargparse reads them from files."""
    if not _is_spec(value):
        return copy.deepcopy(value)
    entries = vars(value) if isinstance(value, Namespace) else value
    arguments = entries.get("init_args") or {}
    own = vars(arguments) if isinstance(arguments, Namespace) else arguments
    given = {"init_args": Namespace(**{key: _unfilled(each) for key, each in own.items()})} if own else {}
    return Namespace(**entries | given)


class Parser(LightningArgumentParser):
    """Says what is wrong in one sentence, with the nearest right name, instead of a page of usage.

    A class that takes the place of a default one starts from its own defaults, not from those of the other class's
    arguments that have the same names.
    """

    def get_defaults(self, skip_validation: bool = False, **kwargs: Any) -> Namespace:
        """Defaults without what their classes fill in, which jsonargparse would keep for whatever class comes next."""
        defaults = super().get_defaults(skip_validation, **kwargs)
        for action in self._actions:
            if _is_spec(action.default):
                defaults[action.dest] = _unfilled(action.default)
        return defaults

    def parse_object(self, *args: Any, **kwargs: Any) -> Namespace:
        """Within a class too, what was given replaces a default before the rest is filled in."""
        before = sub_defaults.set(False)  # else defaults are filled in first
        try:
            return super().parse_object(*args, **kwargs)
        finally:
            sub_defaults.reset(before)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Leave with status 2; nested parsers raise as usual."""
        if not self.exit_on_error:
            super().error(message, ex)
        own = own_error(ex) if ex is not None else None
        fail(str(own) if own is not None else explain(message), status=2)


def fail(sentence: str, status: int = 1) -> NoReturn:
    """Say what is wrong and leave."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(status)


def _chain(error: BaseException) -> list[BaseException]:
    """An error and those that led to it, outermost first."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain


def own_error(error: BaseException) -> BaseException | None:
    """The error among those that led here which one of our files raised to tell the user something.

    The innermost one, or what another of our files made of it by `raise ... from`.
    """
    found: BaseException | None = None
    for link in reversed(_chain(error)):
        frames = traceback.extract_tb(link.__traceback__)
        raised_here = bool(frames) and frames[-1].filename.startswith(PACKAGE)
        own = raised_here and isinstance(link, (ValueError, OSError, RuntimeError))
        if own and (found is None or link.__cause__ is found):
            found = link
    return found


LIGHTNING = (
    "lightning/pytorch/callbacks/",
    "lightning/fabric/utilities/seed.py",
    "accelerator_connector.py",
    "configuration_validator.py",
    "checkpoint_connector.py",
)
"""Where Lightning says in plain exceptions what a user did."""


def sentence_for(error: BaseException) -> str | None:
    """What to tell the user about an error, or None if it is a defect of the program."""
    own = own_error(error)
    if own is not None:
        return str(own)
    for link in _chain(error):
        if told := _by_a_worker(link):
            return told
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk is full ({link.filename or 'while writing'}); the checkpoints written before are intact"
        if isinstance(link, OSError) and link.filename:
            return f"{link.filename}: {link.strerror}"
        if isinstance(link, MisconfigurationException):
            return f"trainer: {_one_line(link)}"
        if str(link).startswith("Error(s) in loading state_dict"):
            return _of_other_networks(str(link))
        if type(link).__module__.startswith("wandb.errors"):
            return f"trainer.logger: {_one_line(link)} --trainer.logger.offline true needs no account."
        if names_lost_rank(link):
            return str(link.args[0])
        if isinstance(link, (ValueError, RuntimeError)) and any(part in _raised_in(link) for part in LIGHTNING):
            keys = {"seed.py": "seed_everything", "checkpoint_connector.py": "ckpt_path"}
            return f"{keys.get(Path(_raised_in(link)).name, 'trainer')}: {_one_line(link)}"
        if "SyncBatchNorm layers only work with GPU modules" in str(link):
            return "trainer.sync_batchnorm: got true, which needs GPUs; leave it out on the CPU"
        if str(link).startswith("Expected more than 1 value per channel when training"):
            return "data.batch_size: got a batch of 1, allowed with batch normalisation are 2 or more"
    return None


def _by_a_worker(error: BaseException) -> str | None:
    """What one of our files said in a process that loads data, whose traceback torch sends home as text."""
    lines = str(error).strip().splitlines()
    if "in DataLoader worker process" not in str(error) or not isinstance(error, (ValueError, OSError)):
        return None
    files = [line for line in lines if line.lstrip().startswith("File ")]
    return lines[-1].partition(": ")[2] if files and PACKAGE in files[-1] else None


def _of_other_networks(message: str) -> str:
    """What is said of weights that do not fit the networks, out of torch's list of all of them."""
    size = re.search(
        r"size mismatch for (\S+): .*?shape torch.Size\(\[(.*?)\]\).*?model is torch.Size\(\[(.*?)\]\)", message
    )
    names = re.search(r'(Missing|Unexpected) key\(s\) in state_dict: "([^"]+)"', message)
    allowed = "allowed are the networks and the image size that it was trained with"
    if size:
        return f"ckpt_path: {size[1]} has shape ({size[2]}) in the checkpoint and ({size[3]}) here; {allowed}"
    which = f"{names[2]} is only {'here' if names[1] == 'Missing' else 'in the checkpoint'}" if names else "others"
    return f"ckpt_path: the checkpoint's weights are of other networks ({which}); {allowed}"


def _raised_in(error: BaseException) -> str:
    """The file that raised an error, with forward slashes."""
    frames = traceback.extract_tb(error.__traceback__)
    return Path(frames[-1].filename).as_posix() if frames else ""


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
