"""Measures of translations against closed forms, on models whose translations are known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from pl_genmodels.callbacks import TranslationQuality
from pl_genmodels.cli import main
from pl_genmodels.data import DigitsToColour, RingToRing
from pl_genmodels.metrics import DigitReader, TranslationMetrics, pair_values, translation
from pl_genmodels.metrics.features import FeatureExtractor
from tests.callbacks.test_translation_grid import Pictures
from tests.models.harness import assert_same, snapshot
from tests.small import fit, gan
from tests.small_translation import SHAPE, cyclegan, pix2pix, rings
from tests.test_cli import fails
from tests.test_translate import saved


class Pixels(FeatureExtractor):
    """Means of the colours and of the upper half are the features."""

    def __init__(self):
        super().__init__(4)

    name = "pixels-4"

    def build(self):
        return torch.nn.Identity()

    def extract(self, network, images):
        floats = images.expand(-1, 3, -1, -1).float() / 255
        upper = floats[:, :, : floats.shape[2] // 2].mean((1, 2, 3))
        return torch.cat([floats.mean((2, 3)), upper[:, None]], 1), None


class Known(torch.nn.Module):
    """B is A at half its contrast; the way back is exact, or off by a constant."""

    def __init__(self, directions=("AtoB", "BtoA"), off=0.0, image_shape=(3, 16, 16)):
        super().__init__()
        self.directions, self.off, self.image_shape = directions, off, image_shape

    def translate(self, images, direction="AtoB", seed=None):
        return (images / 2).expand(-1, 3, -1, -1) if direction == "AtoB" else images * 2 + self.off


def sources(number=8, shape=SHAPE):
    return torch.rand(number, *shape, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8


def batches(source, target, **more):
    return [{"source": a, "target": b} | {key: value[i * 4 : i * 4 + 4] for key, value in more.items()}
            for i, (a, b) in enumerate(zip(source.split(4), target.split(4), strict=True))]  # fmt: skip


def test_cycle_identity_and_distance_to_the_truth_are_what_they_say():
    source = sources()
    results = TranslationMetrics()(Known(off=0.25), batches(source, source / 2 + 0.1))
    assert results["AtoB/cycle_l1"] == pytest.approx(0.25, abs=1e-6)
    assert results["BtoA/cycle_l1"] == pytest.approx(0.125, abs=1e-6)
    assert results["AtoB/l1"] == pytest.approx(0.1, abs=1e-6)
    assert results["BtoA/l1"] == pytest.approx(0.45, abs=1e-6)
    target = source / 2 + 0.1
    assert results["AtoB/identity_l1"] == pytest.approx((target / 2).abs().mean().item(), abs=1e-6)
    assert results["BtoA/identity_l1"] == pytest.approx((source + 0.25).abs().mean().item(), abs=1e-6)
    assert TranslationMetrics(paired=False)(Known(), batches(source, target)).keys() == {
        f"{direction}/{name}" for direction in ("AtoB", "BtoA") for name in ("cycle_l1", "identity_l1")
    }
    one_way = TranslationMetrics()(Known(("AtoB",)), batches(source[:, :1], target))
    assert one_way.keys() == {"AtoB/l1", "AtoB/psnr", "AtoB/ssim"}  # no way back, and no sources among the targets


def test_bytes_are_measured_as_the_floats_that_models_read():
    source = torch.randint(256, (8, *SHAPE), dtype=torch.uint8)
    target = torch.randint(256, (8, *SHAPE), dtype=torch.uint8)
    floats = [part.float() / 127.5 - 1 for part in (source, target)]
    measure = TranslationMetrics(Pixels(), ["fid"])
    assert measure(Known(), batches(source, target)) == pytest.approx(measure(Known(), batches(*floats)))


def test_psnr_and_ssim():
    image = torch.zeros(2, 3, 16, 16)
    image[1] = torch.rand(3, 16, 16) - 0.5
    off = image.clone()
    off[:, :, :8] += 20 / 127.5  # exactly 20 of 255 in one half
    values = pair_values(off, image)
    assert values["psnr"].tolist() == pytest.approx([10 * math.log10(255**2 / 200)] * 2, abs=1e-3)
    assert values["ssim"][0] < 0.999
    same = pair_values(image, image)
    assert same["ssim"].tolist() == pytest.approx([1, 1])
    assert same["psnr"].isinf().all()
    assert "ssim" not in pair_values(image[..., :8], image[..., :8])
    assert pair_values(torch.zeros(3, 2), torch.ones(3, 2)).keys() == {"l1"}


def test_translations_are_compared_with_all_of_the_domain_they_lead_to():
    source = sources(12)
    targets = torch.cat([source[:8] / 2, source[8:] / 2])
    domains = {"source": [{"image": source}], "target": [{"image": targets[:8]}, {"image": targets[8:10]}]}
    measure = TranslationMetrics(Pixels(), ["fid"], paired=False)
    results = measure(Known(), batches(source, targets), domains, "test")
    assert results["AtoB/fid-pixels-4-test10-fake12"] < 1e-3
    assert results["BtoA/fid-pixels-4-test12-fake10"] < 1e-3
    wrong = measure(Known(), batches(source, targets), {**domains, "target": [{"image": targets + 0.3}]}, "test")
    assert wrong["AtoB/fid-pixels-4-test12-fake12"] > 0.05


def test_the_share_of_labels_that_translations_keep():
    source = torch.full((8, 3, 16, 16), -0.8)
    source[4:] = 0.8
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])  # one is labelled wrong
    bright = lambda images: (images.float().mean((1, 2, 3)) > 127).long()
    never = lambda images: torch.zeros(len(images), dtype=torch.long)
    measure = TranslationMetrics(readers={"target": bright, "source": never})
    results = measure(Known(), batches(source, source / 2, label=labels))
    assert results["AtoB/label_kept"] == results["AtoB/label_read"] == 7 / 8
    assert results["BtoA/label_kept"] == 3 / 8
    assert not any("label" in name for name in TranslationMetrics()(Known(), batches(source, source, label=labels)))


def test_processes_agree_also_if_one_has_no_samples(monkeypatch):
    one, two = translation.Means(), translation.Means()
    one.add("l1", torch.tensor([1.0, 2.0, 3.0]))
    two.add("l1", torch.tensor([10.0]))
    everyone = [one.sums, two.sums, {}]
    monkeypatch.setattr(translation, "gather_objects", lambda value: everyone)
    assert translation.Means().compute() == one.compute() == {"l1": 4.0}


def test_digits_in_colour_are_read(tmp_path):
    data = DigitsToColour(size=16)
    train, val = data.labelled("train", "target").tensors, data.load("val").tensors
    assert len(train["image"]) == 3000
    reader = DigitReader(train["image"][::2], train["label"][::2], "colour", str(tmp_path))
    assert (reader(val["target"]) == val["label"]).float().mean() > 0.95  # of their grey: 0.93
    again = DigitReader(train["image"][:1], train["label"][:1], "colour", str(tmp_path))  # from the file
    assert torch.equal(again(val["target"]), reader(val["target"]))
    plain = data.labelled("val", "source").tensors
    assert torch.equal(plain["image"], val["source"])
    assert torch.equal(plain["label"], val["label"])


# ---- while training


def test_quality_is_logged_and_training_goes_on_as_without_it(tmp_path):
    plain, watched = pix2pix(), pix2pix()
    data = Pictures()
    one = fit(plain, data, tmp_path, max_epochs=2, limit_val_batches=1)
    callbacks = [TranslationQuality(Pixels(), ["fid"])]
    two = fit(watched, Pictures(), tmp_path, max_epochs=2, limit_val_batches=1, callbacks=callbacks)
    assert_same(snapshot(plain, one), snapshot(watched, two))
    tensors = data.load("val").tensors
    pairs = [{key: tensors[key] for key in ("source", "target")}]
    expected = TranslationMetrics(Pixels(), ["fid"])(watched, pairs)
    logged = {name: value.item() for name, value in two.logged_metrics.items() if name.startswith("val/")}
    assert logged.keys() == {f"val/{name}" for name in expected}
    assert "val/AtoB/fid-pixels-4-val6-fake6" in logged
    assert logged == pytest.approx({f"val/{name}": value for name, value in expected.items()}, rel=1e-3)


def test_points_have_distances_and_no_fid(tmp_path):
    callbacks = [TranslationQuality(Pixels())]
    runner = fit(rings(), RingToRing(num_samples=40, batch_size=10), tmp_path, callbacks=callbacks)
    names = {name for name in runner.logged_metrics if name.startswith("val/")}
    assert names == {f"val/{way}/{name}" for way in ("AtoB", "BtoA") for name in ("cycle_l1", "identity_l1", "l1")}


# ---- from a checkpoint


def save_pairs(root, split, number=6):
    generator = np.random.default_rng(0)
    for index in range(number):
        (root / split).mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (16, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / split / f"{index}.png")


def test_a_checkpoint_is_evaluated_on_a_folder_of_pairs(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_pairs(tmp_path / "pairs", "val")
    path = saved(cyclegan(), tmp_path / "a.ckpt")
    arguments = ["--ckpt_path", path, "--data", str(tmp_path / "pairs"), "--extractor", "DigitClassifier"]
    main(["evaluate", *arguments, "--metrics", "[fid]", "--out", str(tmp_path / "a.json")])
    results = json.loads((tmp_path / "a.json").read_text())
    fids = {f"{way}/fid-digits-64-val6-fake6" for way in ("AtoB", "BtoA")}
    names = ("cycle_l1", "identity_l1", "l1", "psnr", "ssim")
    assert results.keys() == fids | {f"{way}/{name}" for way in ("AtoB", "BtoA") for name in names}
    printed = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert {name: float(value) for name, value in printed.items()} == pytest.approx(results, rel=1e-4)


def test_data_that_do_not_fit_are_told(tmp_path, capsys):
    save_pairs(tmp_path / "pairs", "val")
    path = saved(cyclegan(), tmp_path / "a.ckpt")
    digits = ["--data", "DigitsToColour", "--data.source_channels", "1", "--data.size", "16"]
    said = fails(capsys, "evaluate", "--ckpt_path", path, *digits)
    assert "data: the source has 1 channels, the source of the model has 3" in said
    assert "allowed for translations are data of two domains" in fails(
        capsys, "evaluate", "--ckpt_path", path, "--data", "Digits"
    )
    latent = saved(gan((3, 16, 16)), tmp_path / "b.ckpt")
    assert "data: got RingToRing, which holds pairs, for a model that translates nothing" in fails(
        capsys, "evaluate", "--ckpt_path", latent, "--data", "RingToRing"
    )


def test_wrong_arguments():
    with pytest.raises(ValueError, match="split: got 'all', allowed are train, val, test"):
        TranslationQuality(split="all")
    with pytest.raises(ValueError, match=r"metrics: got \['psnr'\]"):
        TranslationQuality(metrics=["psnr"])
