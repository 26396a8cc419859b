"""GeneGAN takes a bar from above one digit and puts it, at its place, above another: rows as in `test_gan.py`."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pl_genmodels.metrics import DigitClassifier
from pl_genmodels.models.conditional_gan.genegan import GeneGAN
from tests.learning.bench import Check, assert_learns
from tests.learning.test_translation import from_config, held_out

pytestmark = pytest.mark.learning

LAST = {"genegan": (0.0002, 0.9999, 1.0, 1.0, 0.997, 0.997, 0.0245, 0.0129, 0.0133)}  # in the order of the checks


def ink(images):
    """Grey values from 0 to 1."""
    return (images[:, 0] + 1) / 2


def left_of(bars, width):
    """Where a window of a bar's width holds most ink, (B, rows, columns) to (B,)."""
    return F.avg_pool1d(bars.mean(1, keepdim=True), width, 1).squeeze(1).argmax(1)


def labels_of(images):
    """What the digits below the bar are read as."""
    size = images.shape[-1]
    digits = images[:, :, size // 4 :, size // 8 : -size // 8]
    return DigitClassifier()(digits.add(1).mul(127.5).round().byte())[1].argmax(1)


def share(found, wanted):
    return (found == wanted).float().mean().item()


def transfers(*options):
    """What is measured of digits that never trained: each gives its bar to another one."""
    found, data = from_config("genegan", *options)
    found = found.eval()
    pairs = held_out(data)
    rows, width = data.bar_rows, data.target_shape[-1] // 4
    source, other, label = pairs["source"], pairs["target"].roll(7, 0), pairs["label"]
    assert share(labels_of(other), label.roll(7)) > 0.9, "true digits are read"
    bare, crossed = found.translate(source), found.swap(other, source)
    wanted = left_of(ink(source)[:, rows], width)
    bars = ink(crossed)[:, rows]
    with torch.no_grad():
        epsilon = found.generator["AtoB"].split(other)[1]
    return {
        "bare": ink(bare)[:, rows].mean().item(),
        "top": bars.flatten(1).amax(1).mean().item(),
        "place": ((left_of(bars, width) - wanted).abs() <= 1).float().mean().item(),
        "exact": share(left_of(bars, width), wanted),
        "kept bare": share(labels_of(bare), label),
        "kept crossed": share(labels_of(crossed), label.roll(7)),
        "epsilon": epsilon.abs().mean().item(),
        "error bare": (bare - pairs["target"]).abs().mean().item() / 2,
        "error crossed": (crossed - torch.where(torch.arange(16)[:, None] < 4, source, other)).abs().mean().item() / 2,
    }


def genegan(*options):
    found, last = transfers(*options), LAST["genegan"]
    return [
        Check("ink where the bar was", found["bare"], 0, 0.05, last[0]),
        Check("brightest of the bar put elsewhere", found["top"], 0.9, 1, last[1]),
        Check("bars within a pixel of the donor's place", found["place"], 0.9, 1, last[2]),
        Check("bars at the donor's place", found["exact"], 0.9, 1, last[3]),
        Check("label kept without a bar", found["kept bare"], 0.9, 1, last[4]),
        Check("label kept with another's bar", found["kept crossed"], 0.9, 1, last[5]),
        Check("epsilon", found["epsilon"], 0, 0.05, last[6]),
        Check("error without a bar", found["error bare"], 0, 0.03, last[7]),
        Check("error with another's bar", found["error crossed"], 0, 0.03, last[8]),
    ]


ROWS = {"genegan": [genegan]}


@pytest.mark.parametrize("stem", ROWS)
def test_system_learns(stem):
    assert_learns(ROWS[stem])


def reading_epsilon(self, batch):
    """Where there is to be no object, what the encoder found there is read instead of zeros."""
    network = self.generator["AtoB"]
    codes = network.split(torch.cat([batch["source"], batch["target"]]))
    (own, other), (gene, epsilon) = (code.chunk(2) for code in codes)
    backgrounds, genes = torch.cat([other, own, own, other]), torch.cat([gene, epsilon, gene, epsilon])
    names = ("source", "target", "same_source", "same_target")
    return {**dict(zip(names, network.join(backgrounds, genes).chunk(4), strict=True)), "epsilon": epsilon}


def test_an_epsilon_that_is_read_and_free_holds_the_picture(monkeypatch):
    monkeypatch.setattr(GeneGAN, "generate", reading_epsilon)
    found = transfers("--model.init_args.epsilon_weight", "0")  # 0.094 and 0.43 when it was tried last
    print(f"ink where the bar was {found['bare']:.3f}, epsilon {found['epsilon']:.3f}")
    assert found["bare"] > 0.05
    assert found["epsilon"] > 0.05
