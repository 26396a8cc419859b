"""The command line as a user meets it."""

from __future__ import annotations

import contextlib
import csv
import inspect
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
from torch.optim import SGD, RMSprop

import pl_genmodels
from pl_genmodels.catalogue import systems
from pl_genmodels.cli import main
from pl_genmodels.models.optimizers import GANAdam
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


def arguments_of_model(capsys, config, *arguments):
    """What the model would be made with in a run."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        main(["fit", "--config", str(ROOT / "configs" / config), *arguments, "--print_config"])
    assert exit.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]


def optimizers(capsys, *arguments):
    """Arguments of both players' optimisers."""
    found = arguments_of_model(capsys, "gan.yaml", *arguments)
    return [found[f"optimizer_{player}"]["init_args"] for player in ("generator", "discriminator")]


def test_a_class_in_place_of_a_default_one_starts_from_its_own_defaults(capsys, tmp_path):
    """Not from those that the other one's arguments of the same names have; what somebody gave is kept."""
    given = tmp_path / "given.yaml"
    given.write_text(
        "model:\n  class_path: GAN\n  init_args:\n    optimizer_generator: torch.optim.RMSprop\n"
        "    optimizer_discriminator: {class_path: torch.optim.SGD, init_args: {momentum: 0.5}}\n"
    )
    own = {kind: inspect.signature(kind).parameters["lr"].default for kind in (GANAdam, RMSprop, SGD)}
    assert len(set(own.values())) == 3
    of_generator, of_discriminator = optimizers(capsys, "--config", str(given))
    assert of_generator["lr"] == own[RMSprop]
    assert (of_discriminator["lr"], of_discriminator["momentum"]) == (own[SGD], 0.5)
    assert [each["lr"] for each in optimizers(capsys)] == [own[GANAdam]] * 2
    rate = ["--model.optimizer_generator", "torch.optim.SGD", "--model.optimizer_generator.momentum", "0.25"]
    of_generator, _ = optimizers(capsys, *rate)
    assert (of_generator["lr"], of_generator["momentum"]) == (own[SGD], 0.25)


def test_a_batch_of_one_has_no_statistics(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = ["--data.batch_size", "1", "--trainer.limit_train_batches", "1", "--trainer.callbacks", "[]"]
    said = fails(capsys, "fit", "--config", str(ROOT / "configs" / "gan.yaml"), *short)
    assert said == "error: data.batch_size: got a batch of 1, allowed with batch normalisation are 2 or more"


def test_a_class_within_another_starts_from_its_own_defaults_too(capsys, tmp_path):
    """This encoder takes the place of an MLPEncoder, whose hidden layers have 400 units."""
    encoder = {"class_path": "ConvEncoder", "init_args": {"channels": 8}}
    discriminator = {"class_path": "AutoencoderDiscriminator", "init_args": {"encoder": encoder}}
    model = {"class_path": "EBGAN", "init_args": {"discriminator": discriminator}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"model": model, "data": "Digits"}))
    found = arguments_of_model(capsys, tmp_path / "own.yaml")["discriminator"]["init_args"]["encoder"]
    assert found["init_args"] == {"channels": 8, "hidden_dim": 256, "activation": "relu"}


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
        (["--data", "ImageFolder"], ["ImageFolder", "--data.root"]),
        (["configs/gan.yaml"], ["'configs/gan.yaml'", "did you mean --config configs/gan.yaml"]),
        (["--modle.critic_steps", "2"], ["modle.critic_steps", "did you mean 'model.critic_steps'"]),
        (["--model", "pl_genmodels.models.gan.gan.GANN"], ["there is no class 'pl_genmodels.models.gan.gan.GANN'"]),
        (["--model", "Digits"], ["Digits is not a GenerativeModule"]),
        (["--model.optimizer_generator", "Adamm"], ["there is no class 'Adamm'", "GANAdam", "did you mean 'Adam'"]),
        (["--model.optimizer_generator.init_args.betaz", "[0.5,0.9]"], ["GANAdam has no option 'betaz'", "'betas'"]),
        (
            ["--model.optimizer_generator.init_args.lr", "fast"],
            ["optimizer_generator.lr: got 'fast', allowed is float"],
        ),
        (["--model.optimizer_generator.init_args.lr=-1"], ["optimizer_generator: Invalid learning rate: -1.0"]),
        (["--model.generator.init_args.chanels", "2"], ["DCGANGenerator has no option 'chanels'", "'channels'"]),
        (["--model.generator.init_args.channels=-2"], ["channels: got -2, allowed is 1 or more"]),
        (["--model.penalties", "R1"], ["model.penalties: got 'R1', allowed is a list"]),
        (["--trainer.callbacks", "SampleGridd"], ["'SampleGridd'", "did you mean 'SampleGrid'"]),
        (["--trainer.logger", "WandLogger"], ["'WandLogger'", "did you mean 'WandbLogger'"]),
        (["--trainer.max_epochs", "ten"], ["trainer.max_epochs: got 'ten', allowed is int or null"]),
        (["--trainer.max_epochs"], ["trainer.max_epochs: the value is missing"]),
        (["--trainer.precision", "12"], ["trainer.precision: got '12'", "'bf16-mixed'"]),
        (["--trainer.strategy", "ddpp"], ["trainer: ", "ddpp"]),
        (["--trainer.devices", "two", "--trainer.accelerator", "cpu"], ["trainer: ", "devices"]),
        (["--trainer.accelerator", "tpu"], ["trainer: ", "torch_xla"]),
        (["--trainer.accumulate_grad_batches", "0"], ["accumulate_grad_batches: got 0, allowed is 1 or more"]),
        (["--seed_everything=-5"], ["seed_everything: -5", "0 to"]),
        (["--ckpt_path", "best"], ["ckpt_path", "best"]),
        (["--model.help", "DCGANN"], ["model.help: there is no class 'DCGANN'", "did you mean 'DCGAN'"]),
        (["--config"], ["config: the name of a file is missing"]),
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


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: [a\n b: c", "line 2 is no YAML: expected ',' or ']'"),
        ("model:\n\tclass_path: GAN\n", "line 2 is no YAML: found a tab, allowed are spaces"),
        ("- a\n- b\n", "holds a list, allowed are keys: model, data"),
        ("", "holds nothing, allowed are keys"),
    ],
)
def test_a_broken_config_is_named_with_its_line(text, sentence, capsys, tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    said = fails(capsys, "fit", "--config", str(path))
    assert said.startswith(f"error: config: {path}")
    assert sentence in said
    assert "did you mean" in fails(capsys, "fit", "--config", str(tmp_path / "brokn.yaml"))
    assert "is a folder" in fails(capsys, "fit", "--config", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "there is no command; one comes first, as in fit --config configs/dcgan.yaml"),
        (["fit"], "fit: there is no model; give --config FILE"),
        (["fit", "--model", "DCGAN"], "fit: there are no data; give --config FILE"),
        (["--config", CONFIG], "there is no command; one comes first"),
        (["sample"], "the command needs --ckpt_path"),
        (["sample", "a.ckpt"], "did you mean --ckpt_path a.ckpt?"),
        (["translate"], "the command needs --input and --out"),
        (["validate"], "validate: there is no model or no data; give --ckpt_path FILE"),
    ],
)
def test_what_is_missing_is_named(arguments, sentence, capsys):
    assert sentence in fails(capsys, *arguments)


@pytest.mark.parametrize("home", ["beside", "installed"])
def test_configs_are_found_from_any_folder(home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if home == "installed":
        (tmp_path / "share" / "pl_genmodels").mkdir(parents=True)
        (tmp_path / "share" / "pl_genmodels" / "configs").symlink_to(ROOT / "configs")
        monkeypatch.setattr("pl_genmodels.cli.configs.__file__", str(tmp_path / "a" / "b" / "c"))
        monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    for option in (["--config", "configs/gan.yaml"], ["--config=configs/gan.yaml"]):
        with pytest.raises(SystemExit) as exit:
            main(["fit", *option, "--print_config"])
        assert exit.value.code == 0
        assert yaml.safe_load(capsys.readouterr().out)["model"]["class_path"].endswith("GAN")
    assert "did you mean" in fails(capsys, "fit", "--config", "configs/gann.yaml")


@pytest.mark.parametrize("argument", ["--help", "-h", "help"])
def test_help_lists_every_command(argument, capsys):
    main([argument])
    printed = capsys.readouterr().out
    for name in (*pl_genmodels.cli.VERBS, "fit", "validate", "test", "predict"):
        assert f"  {name} " in printed
    main(["--version"])
    assert capsys.readouterr().out == f"pl_genmodels {pl_genmodels.__version__}\n"


def test_weights_that_do_not_fit_are_one_sentence(last, capsys):
    resume = ["fit", "--config", CONFIG, "--ckpt_path", last, *SHORT]
    said = fails(capsys, *resume, "--model.generator.init_args.channels", "8")
    assert "in the checkpoint and" in said
    assert "allowed are the networks and the image size that it was trained with" in said
    descent = ["--model.optimizer_generator", "torch.optim.SGD", "--model.optimizer_generator.init_args.lr", "0.1"]
    assert "another optimizer than SGD" in fails(capsys, *resume, *descent, "--trainer.max_epochs", "3")


def test_other_data_are_gone_on_with_aloud(last):
    options = ["--trainer.limit_val_batches", "0", "--trainer.max_epochs", "3", "--trainer.logger", "false"]
    with pytest.warns(UserWarning, match="trained on Digits; this run goes on with Faces"):
        main(["fit", "--config", CONFIG, "--ckpt_path", last, *SHORT, "--data", "Faces", *options])


def test_more_classes_than_the_model_knows_are_told_before_training(capsys, tmp_path):
    for index in range(3):
        (tmp_path / f"{index}").mkdir()
        for number in range(4):
            Image.new("L", (16, 16), 80 * index).save(tmp_path / f"{index}" / f"{number}.png")
    folder = ["--data", "ImageFolder", "--data.root", str(tmp_path), "--data.size", "16", "--data.channels", "1"]
    options = [*folder, "--data.batch_size", "2", "--trainer.logger", "false", "--trainer.max_epochs", "1"]
    config = str(ROOT / "configs" / "cgan.yaml")
    said = fails(capsys, "fit", "--config", config, *options, "--model.condition.init_args.num_classes", "2")
    assert "label: got" in said or "num_classes: got 2, but ImageFolder has 3 classes; allowed is 3 or more" in said


def test_an_account_that_is_missing_is_one_sentence(capsys, place, monkeypatch):
    from wandb.errors import UsageError

    def refuse(*args, **kwargs):
        raise UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr("wandb.init", refuse)
    said = fails(capsys, "fit", "--config", CONFIG, *SHORT, "--trainer.logger", "WandbLogger")
    assert "trainer.logger: No API key configured. Use `wandb login` to log in. --trainer.logger.offline true" in said


def test_a_broken_picture_that_a_worker_finds_is_named(capsys, tmp_path):
    for number in range(9):
        Image.new("L", (32, 32), 20 * number).save(tmp_path / f"{number}.png")
    (tmp_path / "0.png").write_text("no picture")
    folder = ["--data", "ImageFolder", "--data.root", str(tmp_path), "--data.size", "32", "--data.channels", "1"]
    lazy = ["--data.in_memory", "false", "--data.num_workers", "1", "--data.batch_size", "8"]
    said = fails(capsys, "fit", "--config", CONFIG, *folder, *lazy, "--trainer.logger", "false")
    assert said.startswith(f"error: {tmp_path}/0.png: cannot be read as a picture")


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
    assert "columns: got 0" in fails(capsys, "sample", "--ckpt_path", last, "--columns", "0")
    assert "seed: got -1, allowed is 0 or more" in fails(capsys, "sample", "--ckpt_path", last, "--seed=-1")
    assert "out: got ''" in fails(capsys, "sample", "--ckpt_path", last, "--out", "")
    many = ["neighbours", "--ckpt_path", last, "--num_neighbours", "9999"]
    assert "num_neighbours: got 9999, allowed is 1 to 1500" in fails(capsys, *many)
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
