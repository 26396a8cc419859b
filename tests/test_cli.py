"""The command line as a user meets it."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import pl_genmodels
from pl_genmodels.catalogue import systems
from pl_genmodels.cli import main
from pl_genmodels.models.vae.cvae import CVAE
from tests.conftest import ROOT
from tests.models.harness import trainer

CONFIG = str(ROOT / "configs" / "dcgan.yaml")
SHORT = [
    "--trainer.limit_train_batches",
    "3",
    "--trainer.check_val_every_n_epoch",
    "1",
    "--trainer.log_every_n_steps",
    "1",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with a finished run of two short epochs."""
    folder = tmp_path_factory.mktemp("cli")
    before = os.getcwd()
    os.chdir(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    with open("out.txt", "w") as out, contextlib.redirect_stdout(out):
        main(["fit", "--config", CONFIG, *SHORT, "--trainer.max_epochs", "2"])
    yield folder
    os.chdir(before)
    del os.environ["XDG_CACHE_HOME"]


@pytest.fixture
def last(place):
    return str(place / "runs" / "dcgan" / "version_0" / "checkpoints" / "last.ckpt")


def fails(capsys, *arguments):
    """The sentence and the exit status of a command that must fail without a traceback."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    sentences = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(sentences) == 1
    assert exit.value.code in (1, 2)
    return sentences[0]


def test_a_run_leaves_what_its_last_line_says(place):
    folder = place / "runs" / "dcgan" / "version_0"
    for name in ("samples", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.csv", "config.yaml"):
        assert (folder / name).exists()
        assert name in (place / "out.txt").read_text().strip().splitlines()[-1]
    with open(folder / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert max(float(row["images_seen"]) for row in rows if row["images_seen"]) == 2 * 3 * 64
    assert sum(bool(row["fid"]) for row in rows) == 2
    pictures = sorted((folder / "samples").glob("*.png"))
    assert pictures[0].name == "000000000.png"
    assert pictures[-1].name == f"{2 * 3 * 64:09d}.png"
    assert yaml.safe_load((folder / "config.yaml").read_text())["model"]["class_path"].endswith("DCGAN")


def test_list_prints_the_catalogue(capsys):
    main(["list"])
    printed = capsys.readouterr().out
    for system in systems():
        assert system.stem in printed
        assert system.config in printed


@pytest.mark.parametrize("target", ["grid.png", "array.npz", "folder"])
def test_sample(target, last, tmp_path):
    out = tmp_path / "new" / target
    main(["sample", "--ckpt_path", last, "--num_samples", "6", "--out", str(out), "--seed", "5"])
    expected = pl_genmodels.load(last).sample(6, seed=5)
    if target == "array.npz":
        images = np.load(out)["samples"]
        assert images.dtype == np.uint8
        assert np.abs(images / 127.5 - 1 - expected.numpy()).max() <= 1 / 127.5
    elif target == "folder":
        files = sorted(out.iterdir())
        assert len(files) == 6
        image = np.asarray(Image.open(files[2]).convert("L"))
        assert np.abs(image / 127.5 - 1 - expected[2, 0].numpy()).max() <= 1 / 127.5
    else:
        assert Image.open(out).size[0] > 6 * 16


def test_sample_of_a_label(last, tmp_path, capsys):
    model = CVAE((1, 8, 8), num_classes=3, latent_dim=2)
    path, out = str(tmp_path / "cvae.ckpt"), tmp_path / "array.npz"
    runner = trainer(tmp_path)
    runner.strategy.connect(model)
    model.trainer = runner
    runner.save_checkpoint(path)
    for options, label in ((["--label", "2"], 2), ([], None)):
        main(["sample", "--ckpt_path", path, "--num_samples", "4", "--out", str(out), *options])
        expected = model.sample(4, label=label, seed=0).numpy()
        assert np.abs(np.load(out)["samples"] / 127.5 - 1 - expected).max() <= 1 / 127.5
    assert "label: got [3]" in fails(capsys, "sample", "--ckpt_path", path, "--label", "3")
    assert "DCGAN knows no labels" in fails(capsys, "sample", "--ckpt_path", last, "--label", "3")


def test_interpolate_strip_and_gif(last, tmp_path):
    main(["interpolate", "--ckpt_path", last, "--num_paths", "2", "--num_steps", "5", "--out", str(tmp_path / "a.png")])
    main(["interpolate", "--ckpt_path", last, "--num_paths", "2", "--num_steps", "5", "--out", str(tmp_path / "a.gif")])
    width, height = Image.open(tmp_path / "a.png").size
    assert width / height == pytest.approx(5 / 2, rel=0.05)
    assert Image.open(tmp_path / "a.gif").n_frames > 2


def test_evaluate_from_the_checkpoint_alone_and_against_a_folder(last, tmp_path, capsys):
    main(["evaluate", "--ckpt_path", last, "--num_samples", "100", "--out", str(tmp_path / "all.json")])
    results = json.loads((tmp_path / "all.json").read_text())
    assert any(key.startswith("fid-digits-64-train1500-fake100") for key in results)
    assert {key.split("-")[0] for key in results} == {"fid", "kid", "isc", "precision", "recall", "ams"}
    assert all(np.isfinite(value) for value in results.values())

    main(["sample", "--ckpt_path", last, "--num_samples", "100", "--out", str(tmp_path / "own")])
    capsys.readouterr()
    arguments = ["--data", str(tmp_path / "own"), "--extractor", "DigitClassifier", "--metrics", "[fid]"]
    main(["evaluate", "--ckpt_path", last, *arguments, "--num_samples", "90"])
    own = float(capsys.readouterr().out.split(":")[-1])
    assert own < 0.2 * results[next(key for key in results if key.startswith("fid"))], "its own samples are closest"


def test_validate_and_predict_from_the_checkpoint_alone(last, place):
    main(["validate", "--ckpt_path", last, "--trainer.logger", "false"])
    main(["validate", "--config", CONFIG, "--ckpt_path", last])
    main(["predict", "--ckpt_path", last, "--trainer.logger", "false", "--return_predictions", "false"])


def test_what_is_given_on_fit_wins_over_the_checkpoint(last, place):
    main(
        [
            "fit",
            "--config",
            CONFIG,
            *SHORT,
            "--ckpt_path",
            last,
            "--trainer.max_epochs",
            "3",
            "--model.critic_steps",
            "3",
        ]
    )
    saved = max((place / "runs" / "dcgan").iterdir(), key=lambda path: path.stat().st_mtime)
    checkpoint = torch.load(saved / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["critic_steps"] == 3
    assert checkpoint["epoch"] >= 2
    assert checkpoint["pl_genmodels"]["images_seen"] == 3 * 3 * 64


def test_configs_compose_and_everything_can_be_overridden(tmp_path, monkeypatch, capsys):
    over = tmp_path / "over.yaml"
    over.write_text("model: {init_args: {critic_steps: 2}}\ndata: {init_args: {batch_size: 7}}\n")
    monkeypatch.setenv("PLG_FIT__TRAINER__MAX_STEPS", "11")
    with pytest.raises(SystemExit):
        main(["fit", "--config", CONFIG, "--config", str(over), "--data.batch_size", "9", "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["init_args"]["critic_steps"] == 2
    assert printed["data"]["init_args"]["batch_size"] == 9
    assert printed["trainer"]["max_steps"] == 11
    assert printed["model"]["init_args"]["optimizer_generator"]["init_args"]["betas"] == [0.5, 0.999], "a default"


def test_help_of_a_model(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["fit", "--model.help", "WGANGP"])
    printed = capsys.readouterr().out
    assert exit.value.code == 0
    assert "gradient_penalty_weight" in printed
    assert "--model.init_args.prior" in printed or "--model.prior" in printed
    assert "penalties" not in printed.replace("gradient_penalty", ""), "what a preset fixes is not an option"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--model.critic_steps", "0"], ["critic_steps", "0", "1 or more"]),
        (["--model.critic_steps", "two"], ["model.critic_steps", "'two'", "int"]),
        (["--model.critic_stepss", "1"], ["critic_stepss", "did you mean 'critic_steps'"]),
        (["--model", "DCGANN"], ["DCGANN", "did you mean 'DCGAN'"]),
        (["--model.generator", "DCGANGenerater"], ["DCGANGenerater", "did you mean 'DCGANGenerator'"]),
        (["--model.generator", "torch.nn.Linear"], ["torch.nn.Linear", "Generator"]),
        (["--model.loss", "Hinge"], ["DCGAN", "loss"]),
        (["--data", "Digitss"], ["Digitss", "did you mean 'Digits'"]),
        (["--data.sizee", "3"], ["sizee", "did you mean 'size'"]),
        (["--data.size", "20"], ["size", "20", "16"]),
        (["--data.batch_size", "5000"], ["5000", "1500"]),
        (["--model.image_shape", "[1,64,64]"], ["model.init_args.image_shape", "(1, 64, 64)", "(1, 32, 32)"]),
        (["--data", "Ring8"], ["DCGANGenerator", "(2,)", "(C, H, W)"]),
        (["--trainer.max_epochz", "3"], ["max_epochz", "did you mean 'max_epochs'"]),
        (["--data", "ImageFolder", "--data.root", "nowhere"], ["root", "nowhere"]),
        (["--ckpt_path", "nowhere.ckpt"], ["ckpt_path", "nowhere.ckpt"]),
        (["--config", "nowhere.yaml"], ["nowhere.yaml"]),
        (["--trainer.default_root_dir", "/proc/nowhere", "--trainer.logger", "false"], ["/proc/nowhere"]),
    ],
    ids=lambda value: "=".join(value[:2]) if isinstance(value, list) and value[0].startswith("--") else "",
)
def test_a_mistake_is_one_sentence(arguments, parts, capsys, place):
    sentence = fails(capsys, "fit", "--config", CONFIG, *arguments)
    for part in parts:
        assert part in sentence


@pytest.mark.parametrize(
    ("stem", "arguments", "sentence"),
    [
        (
            "gan_noisy",
            ["--model.loss.init_args.loss", "Wasserstein"],
            "Wasserstein is not a LabelledLoss; allowed",
        ),
        ("improved_gan", ["--data", "SwissRoll"], "labels_per_class: got 1, allowed for SwissRoll train is none"),
        ("am_gan", ["--data", "SwissRoll"], "a ClassDiscriminator needs 'label' too"),
        ("gan_packed", ["--data.batch_size", "63"], "num_packed: got 2 with a batch of 63 samples"),
        (
            "unrolled_gan",
            ["--model.optimizer_discriminator", "torch.optim.Adagrad"],
            "optimizer_discriminator: got Adagrad, whose step cannot be differentiated",
        ),
        ("mmd_gan", ["--model.loss.unbiased", "true"], "root: got true with unbiased true"),
    ],
)
def test_tricks_that_contradict_each_other_are_one_sentence(stem, arguments, sentence, capsys, place):
    assert sentence in fails(capsys, "fit", "--config", str(ROOT / "configs" / f"{stem}.yaml"), *arguments)


def test_a_users_subclass_hides_no_class_from_the_choices(capsys, place):
    from pl_genmodels.models.gan.lsgan import LSGAN

    class Mine(LSGAN):
        pass

    sentence = fails(capsys, "fit", "--config", CONFIG, "--model", "LSGANN")
    assert "did you mean 'LSGAN'" in sentence
    assert "Mine" not in sentence


def test_mistakes_outside_fit_are_one_sentence(capsys, last, tmp_path):
    cut = tmp_path / "cut.ckpt"
    with open(last, "rb") as file:
        cut.write_bytes(file.read()[:5000])
    assert "cut.ckpt" in fails(capsys, "sample", "--ckpt_path", str(cut))
    assert CONFIG in fails(capsys, "sample", "--ckpt_path", CONFIG)
    assert "did you mean 'sample'" in fails(capsys, "sampel", "--ckpt_path", last)
    assert "Digitss" in fails(capsys, "evaluate", "--ckpt_path", last, "--data", "Digitss")
    assert "grid.bmp" in fails(capsys, "sample", "--ckpt_path", last, "--out", "grid.bmp")
    assert "num_samples" in fails(capsys, "sample", "--ckpt_path", last, "--num_samples", "0")
    other = str(ROOT / "configs" / "gan.yaml")
    assert "DCGAN" in fails(capsys, "fit", "--config", other, "--ckpt_path", last)


def test_defects_keep_their_traceback(monkeypatch):
    def broken():
        raise KeyError("a defect")

    monkeypatch.setitem(pl_genmodels.cli.VERBS, "list", broken)
    with pytest.raises(KeyError):
        main(["list"])


def test_module_entry_point(monkeypatch, capsys):
    """As `python -m pl_genmodels list`; the next test starts a Python of its own."""
    monkeypatch.setattr(sys, "argv", ["pl_genmodels", "list"])
    runpy.run_module("pl_genmodels", run_name="__main__")
    assert "dcgan" in capsys.readouterr().out


def test_plain_ddp_with_every_callback(place):
    """Two processes, nothing but `--trainer.strategy ddp`: grids, FID and checkpoints agree and nobody waits."""
    command = [sys.executable, "-m", "pl_genmodels", "fit", "--config", CONFIG, *SHORT, "--trainer.max_epochs", "2"]
    ddp = ["--trainer.strategy", "ddp", "--trainer.devices", "2", "--trainer.accelerator", "cpu"]
    collapse = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "ddp"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *ddp, *collapse],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Run finished" in done.stdout
    folder = place / "ddp" / "lightning_logs" / "version_0"
    assert len(list(folder.glob("samples/*.png"))) >= 2
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["pl_genmodels"]["images_seen"] == 2 * 2 * 3 * 64
    assert len(checkpoint["callbacks"]["ExactResume"]["ranks"]) == 2
    with open(folder / "metrics.csv") as file:
        assert sum(bool(row["fid"]) for row in csv.DictReader(file)) == 2


def test_points_in_a_config_of_pictures(place, capsys):
    """What measures pictures steps aside; the scatter and the last checkpoint are there."""
    config = str(ROOT / "configs" / "gan.yaml")
    with pytest.warns(UserWarning, match=r"Fidelity: the data have shape \(2,\)"):
        main(["fit", "--config", config, "--data", "Ring8", *SHORT, "--trainer.max_epochs", "1"])
    folder = max((place / "runs" / "gan").iterdir(), key=lambda path: path.stat().st_mtime)
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert len(list(folder.glob("samples/*.png"))) == 2
    assert "last checkpoint" in capsys.readouterr().out
    main(["sample", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt"), "--out", str(place / "points.npz")])
    assert np.load(place / "points.npz")["samples"].shape == (64, 2)
