"""Models built from anything, and rebuilt from their checkpoint alone; files that are no such checkpoint."""

from __future__ import annotations

import pickle
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

import pl_genmodels
from pl_genmodels.callbacks import GeneratorEMA
from pl_genmodels.checkpoints import CheckpointError, read_checkpoint
from pl_genmodels.losses import R1, LeastSquares, SpectralNorm
from pl_genmodels.models.checkpoint_files import CHECKPOINT_FORMAT, UPGRADES
from pl_genmodels.models.gan.gan import GAN
from pl_genmodels.models.gan.lsgan import LSGAN
from pl_genmodels.models.gan.r3gan import R3GAN
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import Discriminator, Generator, MLPDiscriminator, MLPGenerator, UniformPrior
from pl_genmodels.types import Paper
from tests.models.harness import trainer
from tests.small import fit, gan, loader

SHAPE = (1, 4, 4)


class OwnGenerator(Generator):
    def __init__(self, image_shape: tuple[int, ...], latent_dim: int = 5, hidden_dims: tuple[int, ...] = (6,)) -> None:
        super().__init__(image_shape, latent_dim)
        self.layers = nn.Sequential(nn.Linear(latent_dim, hidden_dims[0]), nn.ReLU(), nn.Linear(hidden_dims[0], 16))

    def forward(self, latent):
        return self.layers(latent).tanh().unflatten(1, self.image_shape)


class OwnDiscriminator(Discriminator):
    def __init__(self, image_shape: tuple[int, ...]) -> None:
        super().__init__(image_shape)
        self.layer = nn.Linear(16, 1)

    def forward(self, image):
        return self.layer(image.flatten(1)).squeeze(1)


def own_factory(image_shape: tuple[int, ...]) -> Generator:
    return MLPGenerator(image_shape, latent_dim=4, hidden_dim=7)


class OwnGAN(LatentGAN):
    paper = Paper("Mine", "Me", 2020, "https://example.org", "nothing")


GENERATORS = {
    "class": MLPGenerator,
    "partial": partial(MLPGenerator, latent_dim=2, hidden_dim=5),
    "finished": MLPGenerator(SHAPE, latent_dim=2, hidden_dim=5, batch_norm=True),
    "own class": OwnGenerator,
    "own partial": partial(OwnGenerator, hidden_dims=(9,)),
    "own finished": OwnGenerator(SHAPE, hidden_dims=(3,)),
    "own function": own_factory,
}


def saved(model, tmp_path, **options):
    """A checkpoint of a model that has trained a little."""
    fit(model, loader(2, SHAPE), tmp_path, **options).save_checkpoint(tmp_path / "saved.ckpt")
    return tmp_path / "saved.ckpt"


def assert_rebuilt(model, path):
    torch.load(path, weights_only=True)
    again = pl_genmodels.load(path)
    assert type(again) is type(model)
    assert not again.training
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())
    assert torch.equal(again.sample(3, seed=1), model.sample(3, seed=1))
    return again


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("shape", [SHAPE, None], ids=["shape given", "shape read"])
def test_any_generator_is_rebuilt(kind, shape, tmp_path):
    model = GAN(shape, generator=GENERATORS[kind], discriminator=partial(MLPDiscriminator, hidden_dim=4))
    assert_rebuilt(model, saved(model, tmp_path))


@pytest.mark.parametrize("discriminator", [OwnDiscriminator, OwnDiscriminator(SHAPE)], ids=["class", "finished"])
def test_own_discriminators_are_rebuilt(discriminator, tmp_path):
    model = gan(SHAPE, discriminator=discriminator)
    assert_rebuilt(model, saved(model, tmp_path))


def test_every_other_argument_is_rebuilt(tmp_path):
    model = gan(
        SHAPE,
        model=OwnGAN,
        loss=LeastSquares(-1.0, 1.0, 0.0),
        penalties=[R1(gamma=0.3)],
        constraints=[SpectralNorm(2)],
        prior=UniformPrior(0.5),
        critic_steps=2,
        generator_batch_factor=2,
        optimizer_generator=partial(torch.optim.SGD, lr=0.125),
        scheduler_discriminator=partial(StepLR, step_size=3),
        scheduler_interval="epoch",
    )
    again = assert_rebuilt(model, saved(model, tmp_path))
    assert (again.loss.fake_target, again.penalties[0].gamma, again.prior.bound) == (-1.0, 0.3, 0.5)
    assert (again.critic_steps, again.generator_batch_factor, again.scheduler_interval) == (2, 2, "epoch")
    optimizers, schedulers = again.configure_optimizers()
    assert type(optimizers[1]) is torch.optim.SGD
    assert optimizers[1].param_groups[0]["lr"] == 0.125
    assert schedulers[0].step_size == 3
    assert again.images_seen == model.images_seen == 16


def test_a_rebuilt_model_is_saved_and_rebuilt_again(tmp_path):
    first = saved(gan(SHAPE, generator=partial(OwnGenerator, hidden_dims=(9,))), tmp_path)
    again = pl_genmodels.load(first)
    assert_rebuilt(again, saved(again, tmp_path / "second"))


def test_samples_of_a_checkpoint_are_averaged_ones(tmp_path):
    model = gan(SHAPE)
    path = saved(model, tmp_path, callbacks=[GeneratorEMA(half_life=100.0, ramp_up=0)])
    again = assert_rebuilt(model, path)
    with torch.no_grad():
        raw = again.generator(again.draw_latents(3, seed=1))
    assert not torch.allclose(again.sample(3, seed=1), raw, atol=1e-6)


# ---- what cannot be stored is refused before training


@pytest.mark.parametrize(
    "arguments",
    [
        {"generator": lambda shape: MLPGenerator(shape)},
        {"optimizer_generator": lambda parameters: torch.optim.SGD(parameters, lr=1.0)},
        {"generator": partial(lambda shape: MLPGenerator(shape))},
    ],
    ids=["network", "optimiser", "partial"],
)
def test_a_lambda_is_refused(arguments):
    with pytest.raises(ValueError, match="a lambda or a local definition cannot be stored in a checkpoint") as caught:
        gan(SHAPE, **arguments)
    assert "\n" not in str(caught.value)


def test_a_network_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"generator: built for image_shape \(2,\), the data have \(1, 4, 4\)"):
        gan(SHAPE, generator=MLPGenerator((2,)))


# ---- files


def assert_refused(path, *words):
    with pytest.raises(CheckpointError) as caught:
        pl_genmodels.load(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert str(path) in sentence
    assert all(word in sentence for word in words), sentence


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    torch.manual_seed(0)
    return saved(gan(SHAPE), folder)


def rewritten(good, path, change):
    checkpoint = torch.load(good, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    return path


def test_no_file(tmp_path):
    assert_refused(tmp_path / "none.ckpt", "there is no file")
    assert_refused(tmp_path, "there is no file")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(share, good, tmp_path):
    content = good.read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: int(share * len(content))])
    assert_refused(tmp_path / "cut.ckpt", "checkpoint")


def test_random_files(tmp_path):
    generator = torch.Generator().manual_seed(0)
    path = tmp_path / "random.ckpt"
    for start in [b"", b"\x80\x02", b"\x80\x04\x95", b"PK\x03\x04", b"\x80\x02}", b"\x80\x02]", b"\x80\x02("]:
        for _ in range(40):
            content = torch.randint(0, 256, (60,), generator=generator, dtype=torch.uint8).numpy().tobytes()
            path.write_bytes(start + content)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert_refused(path, "checkpoint")


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "code ran"))


@pytest.mark.parametrize("how", ["zip", "legacy", "bare pickle"])
def test_code_in_a_file_does_not_run(how, good, tmp_path):
    sprung, path = tmp_path / "sprung", tmp_path / "trap.ckpt"
    checkpoint = {**torch.load(good, weights_only=True), "extra": Trap(sprung)}
    if how == "bare pickle":
        path.write_bytes(pickle.dumps(checkpoint))
    else:
        torch.save(checkpoint, path, _use_new_zipfile_serialization=how == "zip")
    assert_refused(path, "was not loaded")
    with pytest.raises(CheckpointError, match="was not loaded"):
        fit(gan(SHAPE), loader(1, SHAPE), tmp_path, ckpt_path=path)
    assert not sprung.exists()
    torch.load(path, weights_only=False) if how != "bare pickle" else pickle.loads(path.read_bytes())
    assert sprung.exists(), "the trap works"


def test_a_newer_format(good, tmp_path):
    newer = CHECKPOINT_FORMAT + 1
    path = rewritten(good, tmp_path / "newer.ckpt", lambda c: c["pl_genmodels"].update(format=newer))
    assert_refused(path, f"has format {newer}, this version reads up to {CHECKPOINT_FORMAT}; upgrade pl_genmodels")


def test_somebody_elses_checkpoint(good, tmp_path):
    for name, change in {
        "other": lambda c: c.pop("pl_genmodels"),
        "weights": lambda c: c.pop("state_dict"),
    }.items():
        assert_refused(rewritten(good, tmp_path / f"{name}.ckpt", change), "was not written by a model of pl_genmodels")
    torch.save(torch.zeros(3), tmp_path / "tensor.ckpt")
    assert_refused(tmp_path / "tensor.ckpt", "was not written by a model of pl_genmodels")


@pytest.mark.parametrize(
    "name",
    ["somebody.models.TheirGAN", "pl_genmodels.models.gan.none.NoGAN", "pl_genmodels.networks.MLPGenerator", "", 3],
)
def test_a_class_that_is_not_here(name, good, tmp_path):
    path = rewritten(good, tmp_path / "class.ckpt", lambda c: c["hyper_parameters"].update(_class_path=name))
    with pytest.raises(CheckpointError, match="ckpt_path: the checkpoint is of") as caught:
        pl_genmodels.load(path)
    assert "\n" not in str(caught.value)


def test_training_does_not_go_on_from_another_class(good, tmp_path):
    with pytest.raises(ValueError, match=r"the checkpoint holds a .*\.GAN, allowed here is a .*\.LSGAN") as caught:
        fit(gan(SHAPE, model=LSGAN), loader(1, SHAPE), tmp_path, ckpt_path=good)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", [R3GAN, LatentGAN])
def test_another_class_does_not_load_it(model, good):
    """Not even its base, which would build something else."""
    with pytest.raises(ValueError, match=rf"\.GAN.*{model.__name__}") as caught:
        model.load_from_checkpoint(good)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_read_onto_a_device(good):
    state = read_checkpoint(good, map_location="meta")["state_dict"]
    assert {value.device.type for value in state.values()} == {"meta"}


def test_a_checkpoint_of_a_plain_trainer_resumes(good, tmp_path):
    model = gan(SHAPE)
    runner = trainer(tmp_path, max_epochs=2)
    runner.fit(model, loader(2, SHAPE), ckpt_path=good)
    assert (runner.global_step, model.images_seen) == (4, 32)


@pytest.mark.parametrize("key", ["generator", "loss", "optimizer_generator", "scheduler_generator"])
@pytest.mark.parametrize("part", ["class", "function"])
def test_a_part_that_would_run_a_program(key, part, good, tmp_path):
    sprung = tmp_path / "sprung"
    popen = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", str(sprung)]}}
    spec = popen if part == "class" else "subprocess.call"
    assert_refused(rewritten(good, tmp_path / "part.ckpt", lambda c: c["hyper_parameters"].update({key: spec})), "part")
    assert not sprung.exists()


def test_an_older_format_is_upgraded_wherever_it_is_read(good, tmp_path, monkeypatch):
    """Two steps back: renamed weights, a renamed counter and a renamed argument."""

    def rename_weights(checkpoint):
        weights = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key.replace("decoder.", "generator."): value for key, value in weights.items()}

    def rename_counter(checkpoint):
        checkpoint["pl_genmodels"]["images_seen"] = checkpoint["pl_genmodels"].pop("seen")
        checkpoint["hyper_parameters"]["generator"] = checkpoint["hyper_parameters"].pop("decoder")

    def age(checkpoint):
        own = checkpoint["pl_genmodels"]
        own.update(format=CHECKPOINT_FORMAT - 2, seen=own.pop("images_seen"))
        checkpoint["hyper_parameters"]["decoder"] = checkpoint["hyper_parameters"].pop("generator")
        weights = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key.replace("generator.", "decoder."): value for key, value in weights.items()}

    old = rewritten(good, tmp_path / "old.ckpt", age)
    assert_refused(old, f"has format {CHECKPOINT_FORMAT - 2}, which this version cannot read")
    monkeypatch.setitem(UPGRADES, CHECKPOINT_FORMAT - 2, rename_weights)
    assert_refused(old, "which this version cannot read")
    monkeypatch.setitem(UPGRADES, CHECKPOINT_FORMAT - 1, rename_counter)
    wanted, again, model = pl_genmodels.load(good), pl_genmodels.load(old), gan(SHAPE)
    assert torch.equal(again.sample(3, seed=1), wanted.sample(3, seed=1))
    assert again.images_seen == wanted.images_seen == 16
    runner = fit(model, loader(2, SHAPE), tmp_path, max_epochs=2, ckpt_path=old)
    assert (runner.global_step, model.images_seen) == (4, 32)


def test_no_code_runs_even_when_it_is_asked_for(good, tmp_path):
    """`weights_only=False` of Trainer.fit is not passed on."""
    sprung, path = tmp_path / "sprung", tmp_path / "trap.ckpt"
    torch.save({**torch.load(good, weights_only=True), "extra": Trap(sprung)}, path)
    with pytest.raises(CheckpointError, match="was not loaded"):
        trainer(tmp_path, max_epochs=2).fit(gan(SHAPE), loader(2, SHAPE), ckpt_path=path, weights_only=False)
    assert not sprung.exists()
