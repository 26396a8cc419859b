import importlib

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pl_genmodels.callbacks.fidelity import Fidelity, fidelity_from_checkpoint
from pl_genmodels.metrics import FeatureExtractor, evaluate

SIZES = {"train": 37, "val": 23, "test": 15}


class RandomProjection(FeatureExtractor):
    """Six random mixtures of the pixels as features, four as logits."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(6)
        self.seed = seed

    @property
    def name(self) -> str:
        return f"projection-{self.seed}"

    def build(self):
        torch.manual_seed(self.seed)
        return nn.Linear(64, 10)

    def extract(self, network, images):
        outputs = network(images.flatten(1).float() / 64)
        return outputs[:, :6], outputs[:, 6:]


class Painter(LightningModule):
    """Learns the mean image by automatic optimisation, with dropout and shuffled data."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(1, 8, 8))
        self.dropout = nn.Dropout()
        self.num_sampled = 0

    def sample(self, num_samples, *, seed=None, first=0):
        assert not self.training
        self.num_sampled += num_samples
        noise = [
            torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(seed + i))
            for i in range(first, first + num_samples)
        ]
        return (self.mean + 0.5 * torch.stack(noise)).tanh()

    def training_step(self, batch, batch_index):
        return (self.dropout(batch[0]) - self.mean).square().mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.1)


class ValidatedPainter(Painter):
    def validation_step(self, batch, batch_index):
        torch.rand(1)

    def test_step(self, batch, batch_index):
        torch.rand(1)


class TwiceValidatedPainter(Painter):
    def validation_step(self, batch, batch_index, dataloader_idx):
        torch.rand(1)


class SomeonesData(LightningDataModule):
    """Float images and labels through ordinary loaders; the training loader drops what fills no batch."""

    def pictures(self, split):
        generator = torch.Generator().manual_seed(SIZES[split])
        return torch.randint(0, 256, (SIZES[split], 1, 8, 8), generator=generator).to(torch.uint8)

    def loader(self, split):
        images = self.pictures(split)
        data = TensorDataset(images.float() / 127.5 - 1, torch.zeros(len(images)))
        return DataLoader(data, 8, shuffle=split == "train", drop_last=split == "train")

    def train_dataloader(self):
        return self.loader("train")

    def val_dataloader(self):
        return self.loader("val")

    def test_dataloader(self):
        return self.loader("test")


class OurData(SomeonesData):
    fingerprint = "pictures"
    num_read = 0

    def evaluation_loader(self, split):
        for image in self.pictures(split).split(5):
            self.num_read += len(image)
            yield {"image": image, "label": torch.zeros(len(image))}


def trainer(*callbacks, **settings):
    return Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        **{"devices": 1, "max_epochs": 2, "enable_progress_bar": False, "enable_model_summary": False, **settings},
    )


def fidelity(tmp_path, **settings):
    return Fidelity(**{"extractor": RandomProjection(), "cache_dir": str(tmp_path), **settings})


@pytest.mark.parametrize("data", [SomeonesData, OurData])
@pytest.mark.parametrize("model", [Painter, ValidatedPainter])
def test_logs_what_evaluate_gives_under_a_full_name_and_as_plain_fid(tmp_path, data, model):
    painter, run = model(), trainer(fidelity(tmp_path, metrics=["fid", "prc"], batch_size=10, seed=3))
    run.fit(painter, data())
    real = [data().pictures("train")]
    expected = evaluate(painter, real, RandomProjection(), ["fid", "prc"], seed=3)
    assert list(expected) == [f"{name}-projection-0-train37-fake37" for name in ("fid", "precision", "recall")]
    expected = {f"val/{key}": value for key, value in expected.items()}
    expected["fid"] = expected["val/fid-projection-0-train37-fake37"]
    assert {key: value.item() for key, value in run.callback_metrics.items()} == pytest.approx(expected, rel=1e-4)
    assert "fid" in run.progress_bar_metrics


@pytest.mark.parametrize("data", [SomeonesData, OurData])
@pytest.mark.parametrize("model", [Painter, ValidatedPainter])
def test_training_is_bit_for_bit_as_without_it(tmp_path, data, model):
    weights = []
    for callbacks in ([], [fidelity(tmp_path, metrics=["fid", "kid", "isc", "prc"])]):
        seed_everything(0)
        painter = model()
        trainer(*callbacks, val_check_interval=2).fit(painter, data())
        weights.append((painter.mean.detach(), torch.get_rng_state()))
    assert weights[0][0].abs().sum() > 0
    assert torch.equal(weights[0][0], weights[1][0])
    assert torch.equal(weights[0][1], weights[1][1])


def test_measures_once_a_validation_but_not_in_the_sanity_check(tmp_path):
    painter = ValidatedPainter()
    trainer(fidelity(tmp_path, num_samples=20), max_epochs=3, num_sanity_val_steps=1).fit(painter, OurData())
    assert painter.num_sampled == 3 * 20
    painter = Painter()
    trainer(fidelity(tmp_path, num_samples=20), max_epochs=4, check_val_every_n_epoch=2).fit(painter, OurData())
    assert painter.num_sampled == 2 * 20


def test_test_compares_with_the_test_split(tmp_path):
    run = trainer(fidelity(tmp_path, num_samples=30))
    (results,) = run.test(ValidatedPainter(), SomeonesData(), verbose=False)
    assert results.keys() == {"test/fid-projection-0-test15-fake30", "fid"}


def test_real_images_are_read_once_a_run_and_once_ever_with_a_fingerprint(tmp_path):
    data = OurData()
    trainer(fidelity(tmp_path)).fit(Painter(), data)
    assert data.num_read == SIZES["train"]
    trainer(fidelity(tmp_path)).fit(Painter(), data)
    assert data.num_read == SIZES["train"]
    trainer(fidelity(tmp_path, split="val")).fit(Painter(), data)
    assert data.num_read == SIZES["train"] + SIZES["val"]


def test_checkpoint_follows_fid_and_holds_the_protocol(tmp_path):
    checkpoints = ModelCheckpoint(tmp_path / "runs", monitor="fid", mode="min", save_top_k=-1)
    settings = {"metrics": ["fid", "kid"], "num_samples": 21, "split": "val", "seed": 4, "batch_size": 10}
    judge = fidelity(tmp_path, extractor=RandomProjection(seed=2), **settings)
    trainer(judge, checkpoints, max_epochs=3).fit(Painter(), OurData())
    scores = checkpoints.best_k_models
    assert len(set(scores.values())) == 3
    assert checkpoints.best_model_score == min(scores.values())
    checkpoint = torch.load(checkpoints.best_model_path, weights_only=True)
    protocol = fidelity_from_checkpoint(checkpoint)
    extractor = protocol.pop("extractor")
    assert protocol == settings
    module, name = extractor["class_path"].rsplit(".", 1)
    rebuilt = getattr(importlib.import_module(module), name)(**extractor["init_args"])
    assert rebuilt.name == "projection-2"
    painter = Painter()
    painter.load_state_dict(checkpoint["state_dict"])
    protocol.pop("metrics")
    results = evaluate(painter, [OurData().pictures("val")], rebuilt, ["fid"], **protocol)
    assert results["fid-projection-2-val23-fake21"] == pytest.approx(checkpoints.best_model_score.item(), rel=1e-4)
    assert fidelity_from_checkpoint({"state_dict": {}}) is None


def test_extractor_that_no_checkpoint_can_rebuild_still_measures(tmp_path):
    class Local(RandomProjection):
        pass

    judge = fidelity(tmp_path, extractor=Local())
    run = trainer(judge)
    run.fit(Painter(), OurData())
    assert "fid" in run.callback_metrics
    assert fidelity_from_checkpoint({"callbacks": {judge.state_key: judge.state_dict()}}) is None


def test_of_several_protocols_the_first_is_plain_fid(tmp_path):
    second = fidelity(tmp_path, extractor=RandomProjection(1))
    run = trainer(fidelity(tmp_path, metrics=["prc"]), fidelity(tmp_path), second)
    run.fit(Painter(), OurData())
    logged = run.callback_metrics
    assert (
        logged["fid"] == logged["val/fid-projection-0-train37-fake37"] != logged["val/fid-projection-1-train37-fake37"]
    )


def all_metrics(folder, **options):
    """What validation finds; `tests/models/test_strategies.py` compares two processes with one."""
    settings = {"metrics": ["fid", "kid", "isc", "prc"], "split": "val", "num_samples": 19, "batch_size": 6}
    runner = trainer(fidelity(folder, **settings), **options)
    (found,) = runner.validate(ValidatedPainter(), SomeonesData(), verbose=False)
    return found


@pytest.mark.parametrize("data", [SomeonesData, OurData])
def test_missing_weights_stop_the_run_before_it_trains(tmp_path, data):
    class Missing(RandomProjection):
        def build(self):
            raise FileNotFoundError("no weights")

    painter = Painter()
    with pytest.raises(FileNotFoundError, match="no weights"):
        trainer(fidelity(tmp_path, extractor=Missing())).fit(painter, data())
    assert not painter.mean.any()


def test_yaml_names_the_extractor(tmp_path):
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--callback", type=Fidelity)
    parser.add_argument("--judges", type=list[Fidelity])
    options = {"metrics": ["fid", "prc"], "num_samples": 5, "extractor": "DigitClassifier"}
    config = {"callback": {"class_path": f"{Fidelity.__module__}.Fidelity", "init_args": options}}
    callback = parser.instantiate_classes(parser.parse_object(config)).callback
    assert callback.extractor.name == "digits-64"
    assert callback.metrics == ("fid", "prc")
    default = parser.parse_object({"callback": {"class_path": f"{Fidelity.__module__}.Fidelity"}})
    assert parser.instantiate_classes(default).callback.extractor.name == "inception-2048"


def test_refuses_what_it_cannot_do(tmp_path):
    with pytest.raises(ValueError, match="split: got 'valid', allowed are train, val, test"):
        Fidelity(split="valid")
    with pytest.raises(ValueError, match="num_samples: got 0, allowed is 1 or more"):
        Fidelity(num_samples=0)
    with pytest.raises(ValueError, match="metrics: got"):
        Fidelity(metrics=["is"])
    with pytest.raises(ValueError, match="split: got 'train', for which the trainer has none here"):
        trainer(fidelity(tmp_path)).validate(ValidatedPainter(), SomeonesData(), verbose=False)
    loaders = [SomeonesData().loader("val"), SomeonesData().loader("test")]
    with pytest.raises(ValueError, match="split: got 'val', for which the trainer has 2 loaders here"):
        trainer(fidelity(tmp_path, split="val")).validate(TwiceValidatedPainter(), loaders, verbose=False)
