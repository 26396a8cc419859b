"""The command `change`, of every kind of model that has it: what stands in the grid, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from pl_genmodels.callbacks.sample_grid import grid_picture
from pl_genmodels.cli import main
from pl_genmodels.data.pictures import to_float
from pl_genmodels.editing import LatentSpace, project
from pl_genmodels.models.inference_gan.aae_supervised import AAESupervised
from pl_genmodels.models.vae.cvae import CVAE
from tests.explorer.models import conditional
from tests.models import test_cvae_gan, test_drgan, test_genegan, test_mathieu_disentangling
from tests.small import gan
from tests.test_cli import fails


def cvae():
    torch.manual_seed(0)
    return CVAE((1, 8, 8), latent_dim=3, num_classes=3).eval()


@pytest.fixture
def use(monkeypatch, tmp_path, capsys):
    """Run `change` on a model and pictures; returns the grid's pixels, or with `wrong` the sentence."""

    def run(model, *options, wrong=False, folder=tmp_path / "in"):
        monkeypatch.setattr("pl_genmodels.checkpoints.load", lambda path: model)
        out = tmp_path / "out.png"
        arguments = ["change", "--ckpt_path", "any", "--input", str(folder), "--out", str(out), *map(str, options)]
        if wrong:
            return fails(capsys, *arguments)
        main(arguments)
        return np.asarray(Image.open(out))

    return run


def saved(folder, shape, number, seed=0):
    """Random pictures in a folder, and as models read them."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = torch.randint(256, (number, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    for place, one in enumerate(pixels):
        array = one.permute(1, 2, 0).numpy()
        Image.fromarray(array[:, :, 0] if shape[0] == 1 else array).save(folder / f"{place}.png")
    return to_float(pixels)


def as_grid(rows, scale):
    return np.asarray(grid_picture(torch.cat(rows), len(rows[0]), scale))


@pytest.mark.parametrize("kind", [test_genegan, test_mathieu_disentangling])
def test_what_others_have_is_exchanged(kind, use, tmp_path):
    model = kind.small().eval()
    images, others = saved(tmp_path / "in", (1, 8, 8), 2), saved(tmp_path / "like", (1, 8, 8), 3, seed=1)
    rows = [torch.cat([torch.ones(1, 1, 8, 8), others])]
    rows += [torch.cat([one[None], model.swap(one.expand(3, -1, -1, -1), others)]) for one in images]
    assert np.array_equal(use(model, "--like", tmp_path / "like"), as_grid(rows, 8))
    assert (
        use(model, "--like", tmp_path / "like" / "0.png").shape == use(model, "--like", tmp_path / "in" / "0.png").shape
    )


def test_people_are_turned_by_themselves_and_together(use, tmp_path):
    model = test_drgan.small(weighted=True).eval()
    first, second = saved(tmp_path / "in" / "anna", (3, 16, 16), 2), saved(tmp_path / "in" / "bert", (3, 16, 16), 1, 1)
    rows = [
        torch.cat([one[None], *(model.rotate(one[None], pose, seed=3) for pose in range(3))])
        for one in torch.cat([first, second])
    ]
    assert np.array_equal(use(model, "--seed", 3), as_grid(rows, 4))
    assert np.array_equal(use(model, "--seed", 3, "--pose", "2,0"), as_grid([row[[0, 3, 1]] for row in rows], 4))
    white = torch.ones(1, 3, 16, 16)
    fused = [
        torch.cat([given, filling, *(model.rotate(given[None], pose, seed=3) for pose in (0, 1, 2))])
        for given, filling in ((first, white[:0]), (second, white))
    ]
    found = use(model, "--seed", 3, "--together")
    assert np.array_equal(found, as_grid(fused, 4))
    assert not torch.allclose(fused[0][2:], rows[0][1:], atol=1e-3), "of both pictures and not of the first"


def test_a_model_without_encoder_is_searched_under_every_label(use, tmp_path):
    model = conditional("label")
    latents = model.draw_latents(1, seed=5)
    image = model.decode(latents, label=2)
    (tmp_path / "in").mkdir()
    Image.fromarray((image[0, 0] * 127.5 + 127.5).round().byte().numpy()).save(tmp_path / "in" / "a.png")
    image = (image * 127.5 + 127.5).round() / 127.5 - 1
    found = min((project(model, image, label=label) for label in range(3)), key=lambda one: float(one.losses))
    rows = [torch.cat([image, *(model.decode(found.latents, label=label) for label in (0, 2))])]
    assert np.abs(use(model, "--label", "0,2").astype(int) - as_grid(rows, 8).astype(int)).max() <= 1
    assert (rows[0][2] - image[0]).square().mean() < 0.1 * (rows[0][1] - image[0]).square().mean()


def test_codes_that_are_left_open_are_those_of_the_picture(use, tmp_path):
    model = conditional("code")
    image = saved(tmp_path / "in", (1, 8, 8), 1)
    said = model.represent(image)[0]
    own = torch.stack([said[:3].argmax().float(), said[3]])
    latents = project(model, image, code=own).latents
    values = [torch.tensor([float(choice), own[1]]) for choice in (0, 2)]
    rows = [torch.cat([image, *(model.decode(latents, code=value) for value in values)])]
    found = use(model, "--code", "0,_"), use(model, "--code", "2,_")
    for place, each in enumerate(found):
        expected = as_grid([rows[0][[0, place + 1]]], 8)
        assert np.abs(each.astype(int) - expected.astype(int)).max() <= 1
    every = use(model)
    assert every.shape[1] > 1.9 * found[0].shape[1], "each category of the first code by default"
    assert np.array_equal(every[:, : found[0].shape[1] - 8], found[0][:, :-8])


def test_encoders_that_know_the_label_are_told_the_likely_one(use, tmp_path):
    for model in (cvae(), test_cvae_gan.small().eval()):
        shape = tuple(model.image_shape)
        image = saved(tmp_path / type(model).__name__, shape, 2)
        torch.manual_seed(0)
        own = model.likely_labels(image)
        latents = model.encode(image, own)
        rows = [
            torch.cat([one[None], *(model.decode(z[None], label=label) for label in (1, 0))])
            for one, z in zip(image, latents, strict=True)
        ]
        found = use(model, "--label", "1,0", folder=tmp_path / type(model).__name__)
        assert np.abs(found.astype(int) - as_grid(rows, 64 // shape[-1]).astype(int)).max() <= 1
    model = cvae()
    torch.manual_seed(0)
    bounds = [model.log_likelihood(image, 50, label) for label in range(3)]
    torch.manual_seed(0)
    assert torch.equal(model.likely_labels(image, 50), torch.stack(bounds).argmax(0))


def test_styles_of_pictures_get_other_labels(use, tmp_path):
    torch.manual_seed(0)
    for model in (AAESupervised((1, 8, 8)).eval(), test_mathieu_disentangling.small().eval()):
        image = saved(tmp_path / "in", (1, 8, 8), 2)
        latents = LatentSpace(model).encode(image)
        labels = torch.arange(model.condition.num_classes)
        rows = [
            torch.cat([one[None], model.decode(z.expand(len(labels), -1), label=labels)])
            for one, z in zip(image, latents, strict=True)
        ]
        assert np.abs(use(model).astype(int) - as_grid(rows, 8).astype(int)).max() <= 1


def test_what_cannot_be_changed_is_told(use, tmp_path):
    saved(tmp_path / "in", (1, 8, 8), 1)
    genes, pairs, people = test_genegan.small(), test_mathieu_disentangling.small(), test_drgan.small()
    for model, options, part in (
        (
            gan((1, 8, 8)),
            [],
            "change: the checkpoint is of a GAN, which knows no conditions, poses or codes to exchange",
        ),
        (genes, [], "like: not given, but a GeneGAN needs pictures of what its inputs are to have"),
        (genes, ["--label", "1"], "label: given, but a GeneGAN takes like instead"),
        (genes, ["--pose", "1"], "pose: given, but a GeneGAN turns nobody; allowed are models that do, such as DRGAN"),
        (genes, ["--like", tmp_path / "none"], "input: there is no picture or folder"),
        (pairs, ["--like", tmp_path / "in", "--label", "1"], "like: got it with label, allowed is one of them"),
        (pairs, ["--label", "3"], "label: got [3], allowed are 0 to 2"),
        (pairs, ["--attributes", "1"], "attributes: got 1, but a MathieuDisentangling is conditional on label"),
        (pairs, ["--together"], "together: given, but a MathieuDisentangling turns nobody"),
        (people, ["--pose", "3"], "pose: got 3, allowed are 0 to 2"),
        (people, ["--pose", "_"], "pose: got _, allowed are 0 to 2"),
        (people, ["--pose", "left"], "pose: got 'left', allowed are a number, a..b"),
        (people, ["--label", "1"], "label: given, but a DRGAN takes pose instead"),
        (people, ["--like", tmp_path / "in"], "but a DRGAN takes nothing from other pictures"),
        (conditional("attributes"), [], "change: a CGAN does not say which attributes a picture has"),
        (conditional("label"), ["--out", "a.jpg"], "out: got 'a.jpg', allowed is a .png file"),
    ):
        assert part in use(model, *options, wrong=True)
