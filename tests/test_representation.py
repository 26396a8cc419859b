"""Codes, reconstructions, likelihoods and scores of codes, from a checkpoint and the command line."""

import json
import math

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader

import pl_genmodels
from pl_genmodels.callbacks.sample_grid import grid_picture
from pl_genmodels.cli import main, measures
from pl_genmodels.data import Digits, ImageFolder, Sprites
from pl_genmodels.losses import Gaussian
from pl_genmodels.models.baselines.gmm import GMM
from pl_genmodels.models.baselines.pca import PCA
from pl_genmodels.models.vae.vae import VAE
from tests.test_cli import fails

QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
ELLIPSES = {"size": 16, "shapes": ["ellipse"], "num_scales": 4, "num_orientations": 1, "num_x": 6, "num_y": 6}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Writes a checkpoint of a model after one epoch, once for each name."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def write(name, model, data, **options):
        if name not in made:
            torch.manual_seed(0)
            trainer = Trainer(max_epochs=1, limit_val_batches=0, enable_checkpointing=False, **{**QUIET, **options})
            trainer.fit(model(), data())
            made[name] = str(folder / f"{name}.ckpt")
            trainer.save_checkpoint(made[name])
        return made[name]

    return write


@pytest.fixture
def vae(checkpoint):
    return checkpoint("vae", lambda: VAE(latent_dim=3), lambda: Digits(8, binarize="dynamic"), limit_train_batches=5)


@pytest.fixture
def pca(checkpoint):
    return checkpoint("pca", lambda: PCA(latent_dim=20), lambda: Digits(8, batch_size=60, dequantize=True))


def test_codes_of_a_data_set(vae, pca, tmp_path, capsys):
    out = tmp_path / "deep" / "codes.npz"
    main(["encode", "--ckpt_path", vae, "--out", str(out), "--split", "val", "--batch_size", "40"])
    assert "149 codes of 3 numbers" in capsys.readouterr().out
    found, data = np.load(out), Digits(8, binarize="dynamic").load("val").tensors
    expected = pl_genmodels.load(vae).encode(data["image"].float() / 127.5 - 1)
    assert found.files == ["codes", "label"]
    assert np.allclose(found["codes"], expected.numpy(), atol=1e-6)
    assert np.array_equal(found["label"], data["label"].numpy())
    main(
        ["encode", "--ckpt_path", vae, "--out", str(out), "--data", "Sprites", "--data.size", "8", "--data.num_x", "1"]
    )
    found, sprites = np.load(out), Sprites(size=8, num_x=1)
    assert found["factors"].shape == (1152, 5)
    assert np.array_equal(found["factors"], sprites.factors_of(sprites.load("test").indices).numpy())
    main(["encode", "--ckpt_path", pca, "--out", str(out)])
    assert np.load(out)["codes"].shape == (148, 20)


def test_codes_of_pictures_and_folders(vae, tmp_path):
    folder = tmp_path / "pictures"
    for index, name in enumerate(["b/two.png", "a/one.png", "a/three.png"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(index).integers(0, 256, (16, 24), dtype=np.uint8)
        Image.fromarray(values).save(folder / name)
    out = tmp_path / "codes.npz"
    main(["encode", "--ckpt_path", vae, "--out", str(out), "--input", str(folder)])
    whole = dict(np.load(out))
    assert whole["files"].tolist() == ["a/one.png", "a/three.png", "b/two.png"]
    assert whole["label"].tolist() == [0, 0, 1]
    drawn = ImageFolder(folder, size=8, channels=1, val_fraction=0, binarize="static").load("train").tensors["image"]
    expected = pl_genmodels.load(vae).encode(drawn.float() / 127.5 - 1)
    assert np.allclose(whole["codes"], expected.numpy(), atol=1e-6), "black and white as the model was trained"
    main(["encode", "--ckpt_path", vae, "--out", str(out), "--input", str(folder / "a" / "one.png")])
    alone = dict(np.load(out))
    assert alone["files"].tolist() == ["one.png"]
    assert np.allclose(alone["codes"], whole["codes"][:1], atol=1e-6)
    assert alone.keys() == {"codes", "files"}


def test_reconstructions_stand_beside_their_images(pca, tmp_path):
    out = tmp_path / "pairs.png"
    main(["reconstruct", "--ckpt_path", pca, "--out", str(out), "--num_images", "6", "--columns", "3"])
    picture = np.asarray(Image.open(out).convert("L")).astype(float)
    cell = 9 * 8  # pixels and a border, each a square of eight
    assert picture.shape == (2 * cell + 8, 6 * cell + 8)
    images = Digits(8).load("test").tensors["image"]
    chosen = torch.linspace(0, 147, 6).round().long()
    for place, index in enumerate(chosen.tolist()):
        row, column = place // 3 * cell + 8, place % 3 * 2 * cell + 8
        left = picture[row : row + 64 : 8, column : column + 64 : 8]
        right = picture[row : row + 64 : 8, column + cell : column + cell + 64 : 8]
        assert np.abs(left - images[index, 0].numpy()).max() <= 1
        assert 0 < np.abs(right - left).mean() < 40  # of 255: twenty components know it roughly
        assert np.corrcoef(left.ravel(), right.ravel())[0, 1] > 0.8


def test_traversals_from_the_prior_or_a_picture(vae, pca, tmp_path, capsys):
    model, out = pl_genmodels.load(vae), tmp_path / "rows.png"
    options = ["--ckpt_path", vae, "--out", str(out), "--num_steps", "3"]
    main(["traverse", *options, "--num_dims", "2"])
    latents = torch.zeros(6, 3)
    latents[[0, 2], 0], latents[[3, 5], 1] = torch.tensor([-2.0, 2.0]), torch.tensor([-2.0, 2.0])
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(grid_picture(model.decode(latents), 3, 8)))
    image = np.zeros((8, 8), np.uint8)
    image[2:6, 3:5] = 255
    Image.fromarray(image).save(tmp_path / "bar.png")
    main(["traverse", *options, "--num_dims", "1", "--input", str(tmp_path / "bar.png")])
    code = model.encode(torch.from_numpy(image)[None, None].float() / 127.5 - 1)
    latents = code.repeat(3, 1)
    latents[:, 0] = torch.tensor([-2.0, 0.0, 2.0])
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(grid_picture(model.decode(latents), 3, 8)))
    assert "PCA, allowed are models that draw latents" in fails(capsys, "traverse", "--ckpt_path", pca)
    assert "span: got -1.0" in fails(capsys, "traverse", *options, "--span", "-1")


@pytest.mark.filterwarnings("ignore")
def test_images_that_a_likelihood_does_not_take_are_told():
    bytes_as_floats = DataLoader(torch.rand(8, 1, 8, 8) * 255, batch_size=4)
    trainer = Trainer(max_steps=1, enable_checkpointing=False, **QUIET)
    with pytest.raises(ValueError, match=r"batch: got images from .* to 25\d, allowed with Bernoulli are values in"):
        trainer.fit(VAE((1, 8, 8), latent_dim=2), bytes_as_floats)
    trainer.fit(VAE((1, 8, 8), latent_dim=2, likelihood=Gaussian()), bytes_as_floats)  # a density has no bounds


def evaluated(tmp_path, *arguments):
    out = tmp_path / "results.json"
    main(["evaluate", *arguments, "--out", str(out)])
    return json.loads(out.read_text())


def test_exact_likelihood_and_its_bits(pca, checkpoint, tmp_path):
    found = evaluated(tmp_path, "--ckpt_path", pca, "--metrics", "[likelihood]")
    data = Digits(8, dequantize=True, batch_size=60)
    batches = [data.on_after_batch_transfer(batch, 0)["image"] for batch in data.test_dataloader()]
    nats = -float(pl_genmodels.load(pca).log_prob(torch.cat(batches)).mean())
    assert found.keys() == {"nll-nats-exact-test148", "nll-bits-per-dim-dequantized17-exact-test148"}
    assert found["nll-nats-exact-test148"] == pytest.approx(nats)
    # the same density over [0, 1] is 2^64 times as large, and 17 levels are worth log2(17) bits there
    bits = (nats - 64 * math.log(2)) / 64 / math.log(2) + math.log2(17)
    assert found["nll-bits-per-dim-dequantized17-exact-test148"] == pytest.approx(bits)
    assert 1 < bits < math.log2(17)
    plain = ["--data", "Digits", "--data.size", "8", "--split", "val"]
    assert evaluated(tmp_path, "--ckpt_path", pca, "--metrics", "[likelihood]", *plain).keys() == {
        "nll-nats-exact-val149"
    }, "levels as they are have no density"


def test_a_bound_names_its_samples_and_how_images_were_made(vae, tmp_path):
    options = ["--ckpt_path", vae, "--metrics", "[likelihood]", "--num_importance_samples"]
    few, many = evaluated(tmp_path, *options, "1"), evaluated(tmp_path, *options, "200")
    assert list(few) == ["nll-nats-iw1-drawn-test148", "nll-bits-per-dim-iw1-drawn-test148"]
    assert many["nll-nats-iw200-drawn-test148"] < few["nll-nats-iw1-drawn-test148"]
    nats, bits = many.values()
    assert bits == pytest.approx(nats / 64 / math.log(2))
    assert many == evaluated(tmp_path, *options, "200"), "of a seed"


def test_a_density_has_no_bits_of_its_own(checkpoint, tmp_path):
    path = checkpoint("gaussian", lambda: VAE(latent_dim=3, likelihood=Gaussian()), lambda: Digits(8), max_steps=2)
    found = evaluated(tmp_path, "--ckpt_path", path, "--metrics", "[likelihood]", "--num_importance_samples", "2")
    assert list(found) == ["nll-nats-iw2-test148"]


def test_a_linear_probe(pca, tmp_path):
    found = evaluated(tmp_path, "--ckpt_path", pca, "--metrics", "[probe]")
    model, splits = pl_genmodels.load(pca), {}
    data = Digits(8, dequantize=True)
    for split in ("train", "test"):
        batches = [data.on_after_batch_transfer(batch, 0) for batch in data.evaluation_loader(split)]
        codes = torch.cat([model.encode(batch["image"]) for batch in batches]).numpy()
        splits[split] = codes, torch.cat([batch["label"] for batch in batches]).numpy()
    centre, spread = splits["train"][0].mean(0), splits["train"][0].std(0)
    classifier = LogisticRegression(max_iter=1000).fit((splits["train"][0] - centre) / spread, splits["train"][1])
    accuracy = classifier.score((splits["test"][0] - centre) / spread, splits["test"][1])
    assert found == {"linear-probe-train1500-test148": pytest.approx(accuracy, abs=0.01)}
    assert accuracy > 0.9


class Reader:
    """Reads the factors off a picture of one shape: where it is, and how large."""

    device = torch.device("cpu")

    def encode(self, image):
        white = (image[:, 0] + 1) / 2
        mass = white.sum((1, 2))
        pixel = torch.arange(white.shape[-1], dtype=torch.float32)
        return torch.stack([mass.sqrt(), white.sum(1) @ pixel / mass, white.sum(2) @ pixel / mass], 1)


def test_scores_of_codes_that_are_the_factors():
    data = Sprites(**{**ELLIPSES, "size": 32})
    found = measures.disentanglement(Reader(), data, seed=0)
    assert len(found) == 7
    assert all(name.endswith("-factors144") for name in found)
    assert found["beta-vae-factors144"] > 0.98
    assert found["mig-factors144"] > 0.8
    assert found["dci-disentanglement-factors144"] > 0.9


def test_measures_without_names_are_those_that_are_possible(vae, pca, checkpoint):
    model, plain = pl_genmodels.load(vae), Digits(8)
    assert measures.chosen_measures(model, plain, None, None) == ["probe"], "a bound is taken if it is asked for"
    assert measures.chosen_measures(model, plain, None, 5) == ["likelihood", "probe"]
    assert measures.chosen_measures(model, Sprites(size=8), None, None) == ["disentanglement"]
    assert measures.chosen_measures(pl_genmodels.load(pca), plain, None, None) == ["likelihood", "probe"]
    assert measures.chosen_measures(model, plain, ["fid"], None) == []


def test_mistakes_are_one_sentence(vae, pca, checkpoint, tmp_path, capsys):
    gmm = checkpoint("gmm", lambda: GMM(num_components=2), lambda: Digits(8), limit_train_batches=2)
    out = str(tmp_path / "codes.npz")
    for verb in ("encode", "reconstruct"):
        sentence = fails(capsys, verb, "--ckpt_path", gmm)
        assert (
            sentence == f"error: {verb}: the checkpoint is of a GMM, which has no encoder; allowed for it are sample, "
            "neighbours and evaluate"
        )
    for options, part in (
        (["--out", "codes.txt"], "out: got 'codes.txt', allowed is a .npz file"),
        (["--out", out, "--input", "nowhere"], "input: there is no picture or folder 'nowhere'"),
        (["--out", out, "--split", "all"], "split: got 'all', allowed are train, val, test"),
        (["--out", out, "--input", ".", "--data", "Digits"], "input: allowed is either --input or --data"),
        (["--out", out, "--data", "Digits"], "data: images have shape (1, 16, 16), the model was trained on (1, 8, 8)"),
        (["--out", out, "--batch_size", "0"], "batch_size: got 0, allowed is 1 or more"),
    ):
        assert part in fails(capsys, "encode", "--ckpt_path", vae, *options)
    for path, options, part in (
        (vae, ["--metrics", "[disentanglement]"], "metrics: got 'disentanglement', but the data have no known factors"),
        (gmm, ["--metrics", "[probe]"], "metrics: got 'probe', but GMM has no encoder"),
        (vae, ["--metrics", "[nats]"], "metrics: got ['nats'], allowed is a list of fid, kid, isc, prc"),
        (vae, ["--num_importance_samples", "0"], "num_importance_samples: got 0, allowed is 1 or more"),
        (pca, ["--num_importance_samples", "5"], "num_importance_samples: got 5, but a PCA has no bound to sample"),
    ):
        assert part in fails(capsys, "evaluate", "--ckpt_path", path, *options)
