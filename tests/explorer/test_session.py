"""What the explorer does, without a page."""

import base64
import io
import time
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from pl_genmodels.data.pictures import to_float
from pl_genmodels.editing import LatentSpace, grey_of, morph, principal_directions, transfer
from pl_genmodels.editing.edges import gradient_histograms, pool_cells
from pl_genmodels.explorer import Explorer, Session
from pl_genmodels.explorer.files import png_of, row_of, shown
from pl_genmodels.explorer.strokes import brush_of, colour_of, covered, read_drag, read_stroke
from pl_genmodels.explorer.uploads import read_upload
from pl_genmodels.explorer.wishes import Wishes
from pl_genmodels.models.baselines.pca import PCA
from pl_genmodels.models.vae.cvae import CVAE
from pl_genmodels.models.vae.vae import VAE
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator
from tests.explorer.models import CONDITIONS, SHAPE, conditional, contrasted, spots
from tests.small import gan
from tests.test_cli import fails

STROKE = {"colour": "#ffffff", "radius": 1.0, "points": [[2, 2], [6, 2]]}


def plain():
    return contrasted(gan(SHAPE))


def vae():
    torch.manual_seed(0)
    return VAE(SHAPE, latent_dim=14).eval()


MODELS = {"gan": plain, "vae": vae, **{entry: lambda entry=entry: conditional(entry) for entry in CONDITIONS}}


@pytest.fixture(params=MODELS)
def session(request):
    return Session(Explorer(MODELS[request.param]()))


def assert_consistent(session):
    """The picture is what the model makes of the latents and the condition."""
    explorer = session.explorer
    expected = LatentSpace(explorer.model, **explorer.told(session.now.values)).decode(session.now.latents)
    assert torch.allclose(session.now.image, expected[0], atol=1e-6)


# ---- directions


def linear(scales):
    """Images are orthonormal patterns times latents, the first pattern the strongest."""
    model = gan((8,))
    torch.manual_seed(0)
    patterns, mixed = torch.linalg.qr(torch.randn(8, 3)).Q, torch.linalg.qr(torch.randn(3, 3)).Q
    matrix = patterns @ torch.diag(torch.tensor(scales)) @ mixed.T
    model.decode = lambda latents: latents @ matrix.T
    return model, mixed


def test_directions_of_a_linear_decoder_are_its_singular_vectors():
    model, expected = linear([4.0, 1.0, 0.25])
    found = principal_directions(LatentSpace(model), 3)
    assert torch.allclose(found @ found.T, torch.eye(3), atol=1e-5)
    assert (found @ expected).abs().diagonal().min() > 0.99
    assert (found.gather(1, found.abs().argmax(1, keepdim=True)) > 0).all()
    assert torch.equal(principal_directions(LatentSpace(model), 2), found[:2])
    with pytest.raises(ValueError, match="number: got 4, allowed is 1 to 3"):
        principal_directions(LatentSpace(model), 4)


def test_short_latents_have_a_slider_each_and_long_ones_their_directions():
    short, long = Explorer(plain()), Explorer(conditional("label"))
    assert [axis.name for axis in short.axes] == ["z1", "z2", "z3"]
    assert torch.equal(torch.stack([axis.vector for axis in short.axes]), torch.eye(3))
    assert [axis.name for axis in long.axes] == [f"direction {place}" for place in range(1, 11)]
    rows = torch.stack([axis.vector for axis in long.axes])
    assert torch.allclose(rows @ rows.T, torch.eye(10), atol=1e-5)
    assert all(3 < axis.high < 4.5 and -4.5 < axis.low < -3 for axis in long.axes)


# ---- ways to leave a place


def test_a_sample_is_that_of_the_command_line(session):
    explorer = session.explorer
    assert torch.equal(session.now.latents, explorer.space.draw(1, seed=0))
    session.sample(7)
    assert torch.equal(session.now.latents, explorer.model.draw_latents(8, seed=0)[7:])
    assert_consistent(session)
    assert "sample" in session.sample()
    with pytest.raises(ValueError, match="number: got -1, allowed is 0 or more"):
        session.sample(-1)


def test_a_slider_moves_along_its_axis_alone(session):
    explorer = session.explorer
    for place, axis in enumerate(explorer.axes):
        earlier = session.now
        value = 0.7 if session.positions()[place] < 0 else -0.7
        session.move(place, value)
        assert session.positions()[place] == pytest.approx(value, abs=1e-4)
        change = (session.now.latents - earlier.latents)[0]
        assert torch.allclose(change, change @ axis.vector * axis.vector, atol=1e-5)
        assert not torch.equal(session.now.image, earlier.image)
        assert_consistent(session)
    with pytest.raises(ValueError, match=r": got 99, allowed is -"):
        session.move(0, 99)


@pytest.mark.parametrize(
    ("entry", "start", "other", "wrong"),
    [("label", 0, 2, 3), ("attributes", [0, 0], [0, 1], [0, 2]), ("code", [0, 0], [2, 0.5], [3, 0])],
)
def test_a_condition_changes_and_the_latents_stay(entry, start, other, wrong):
    session = Session(Explorer(conditional(entry)))
    assert torch.equal(session.now.values.float(), torch.tensor(start).float())
    earlier = session.now
    assert entry in session.tell(other)
    assert torch.equal(session.now.latents, earlier.latents)
    assert not torch.equal(session.now.image, earlier.image)
    assert torch.equal(session.now.values.float(), torch.tensor(other).float())
    assert_consistent(session)
    with pytest.raises(ValueError, match=f"{entry}: got"):
        session.tell(wrong)
    with pytest.raises(ValueError, match="knows no conditions"):
        Session(Explorer(plain())).tell(0)


def test_an_upload_is_projected(session, tmp_path):
    explorer = session.explorer
    own = explorer.images(explorer.space.draw(1, seed=5), session.now.values)[0]
    pixels = (own[0] * 127.5 + 127.5).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(tmp_path / "own.png")
    start = (session.now.image - own).square().mean()
    note = session.upload(tmp_path / "own.png")
    assert "own.png has 8x8 pixels (height x width). Now is" in note
    assert (session.now.image - own).square().mean() < 0.5 * start, "what the model can make is nearly found"
    assert torch.allclose(session.before.image, own, atol=0.01), "compared with the upload itself"
    assert torch.equal(session.before.latents, session.now.latents)
    assert_consistent(session)
    Image.fromarray(pixels).convert("RGB").resize((20, 30)).save(tmp_path / "large.png")
    assert "large.png has 30x20 pixels (height x width), resized to 8x8." in session.upload(tmp_path / "large.png")
    (tmp_path / "text.png").write_text("no picture")
    earlier = session.now
    with pytest.raises(ValueError, match=r"^text.png: cannot be read as a picture"):
        session.upload(tmp_path / "text.png")
    assert session.now is earlier


def test_an_upload_to_a_model_of_wide_pictures_is_cut_to_their_ratio(tmp_path):
    Image.linear_gradient("L").save(tmp_path / "large.png")  # 256x256, from black on top to white below
    image, whole, note = read_upload(tmp_path / "large.png", (3, 4, 8))
    assert image.shape == (1, 3, 4, 8)
    assert whole.shape == (3, 256, 256)
    assert "resized to 4x8" in note
    assert image[0, 0, 0, 0] == pytest.approx(-0.35, abs=0.1), "its middle half"
    session = Session(Explorer(contrasted(gan((3, 4, 8)))))
    session.upload(tmp_path / "large.png")
    assert_consistent(session)


def test_a_code_is_read_off_an_upload():
    explorer = Explorer(conditional("code"))
    image = torch.rand(1, *SHAPE) * 2 - 1
    said = explorer.model.represent(image)[0]
    assert torch.allclose(explorer.values_of(image), torch.stack([said[:3].argmax().float(), said[3]]))
    assert Explorer(conditional("label")).values_of(image) is None
    explorer = Explorer(CVAE(SHAPE, latent_dim=3, num_classes=3).eval())
    torch.manual_seed(0)
    bounds = [explorer.model.log_likelihood(image, 50, label) for label in range(3)]
    torch.manual_seed(0)
    assert explorer.values_of(image) == torch.stack(bounds).argmax(), "the label under which it is most probable"


def test_paint_moves_the_latent_towards_the_colour(session):
    colour, mask = read_stroke(STROKE, SHAPE)
    earlier = session.now
    colour = colour if (earlier.image[:, mask].mean() < 0) else -colour
    text = "#ffffff" if colour[0] > 0 else "#000000"
    assert f"{int(mask.sum())} pixels are painted" in session.paint({**STROKE, "colour": text})
    assert not torch.equal(session.now.latents, earlier.latents)

    def error(place):
        return (place.image[:, mask] - colour).square().mean()

    assert error(session.now) < error(earlier)
    assert torch.equal(session.wishes.colour_mask, mask)
    session.paint({"colour": "#808080", "radius": 0.5, "points": [[0.5, 7.5]]})
    assert session.wishes.colour_mask.sum() == mask.sum() + 1, "earlier strokes stay"
    assert_consistent(session)
    session.clear()
    assert not session.wishes.arguments()
    session.paint(STROKE)
    session.move(0, 0.0)
    assert not session.wishes.arguments(), "a picture that was led elsewhere is no longer held"


def blob(side=16):
    """A model whose picture is a bright spot at a place that its latents say."""
    model = gan((1, side, side))
    model.decode = lambda latents: spots(side / 4 * latents[:, :2], side)
    return model


def centre(image):
    """Of a picture's brightness, x and y in pixels from the upper left corner."""
    light = (image[0] + 1) / 2
    places = torch.arange(len(light)) + 0.5
    return torch.stack([(light.sum(0) * places).sum(), (light.sum(1) * places).sum()]) / light.sum()


@pytest.mark.parametrize("way", [(4, 0), (-3, 2), (0, -4)])
def test_a_dragged_patch_brings_along_what_is_in_it(way):
    session = Session(Explorer(blob()))
    session._go(session.explorer.place(torch.tensor([[0.1, -0.05, 0.0]]), None))
    start = centre(session.now.image)
    ends = [start.tolist(), (start + torch.tensor(way)).tolist()]
    note = session.paint({"brush": "warp", "radius": 3.0, "points": ends})
    assert f"{abs(way[0])} {'left' if way[0] < 0 else 'right'}" in note
    moved = centre(session.now.image) - start
    assert (moved - torch.tensor(way)).abs().max() < 1, "nearly as far as it was dragged, and that way"
    assert_consistent(session)


def test_a_sketch_moves_the_latent_towards_its_edges(session):
    where = read_stroke(STROKE, SHAPE)[1]
    strokes = where.float()[None, None]
    wanted, cells = gradient_histograms(2 * strokes - 1, 2), pool_cells(strokes, 2)

    def error(place):
        return (cells * (gradient_histograms(place.image[None], 2) - wanted).square()).sum()

    earlier = session.now
    assert f"{int(where.sum())} pixels are sketched" in session.paint({**STROKE, "brush": "sketch"})
    assert not torch.equal(session.now.latents, earlier.latents)
    assert error(session.now) < error(earlier)
    assert shown(session, 1)["sketched"] == where.nonzero().flip(1).tolist()
    assert shown(session, 1)["painted"] == []
    assert_consistent(session)
    session.clear()
    assert shown(session, 1)["sketched"] == []


def test_wishes_are_those_that_were_made():
    image = torch.rand(1, 8, 8) * 2 - 1
    line, patch = torch.zeros(8, 8, dtype=torch.bool), torch.zeros(8, 8, dtype=torch.bool)
    line[1, 1:4], patch[2:4, 2:5] = True, True
    none = Wishes.none((1, 8, 8))
    assert none.arguments() == {}
    white = torch.ones(1)
    painted = none.painted(-white, patch).painted(white, line)
    assert painted.arguments().keys() == {"colour", "colour_mask"}
    assert (painted.colour[0][line] == 1).all()
    assert (painted.colour[0][patch] == -1).all()
    sketched = none.sketched(line)
    assert torch.equal(sketched.arguments()["sketch"][0], line.float())
    assert torch.equal(sketched.arguments()["sketch_mask"][0], line.float())
    moved = painted.sketched(line).moved(image, patch, (3, 2))
    there = torch.zeros(8, 8, dtype=torch.bool)
    there[5:7, 4:7] = True
    assert torch.equal(moved.colour[:, 5:7, 4:7], image[:, 2:4, 2:5])
    assert torch.equal(moved.colour_mask, line | there), "what was painted within the patch is gone from its old place"
    assert torch.equal(moved.sketch_mask, line | there)
    assert torch.equal(moved.strokes, line)
    assert (moved.sketch[line] == 1).all(), "a drawn line stays one"
    assert torch.equal(moved.sketch[4:8, 3:8], grey_of(torch.where(there, moved.colour, image)[None])[0, 4:8, 3:8]), (
        "edges are those of the picture with the patch on it"
    )
    again = moved.moved(image, there, (0, -2))
    assert torch.equal(again.colour_mask, line | there.roll(-2, 1)), "a patch that is dragged on does not stay behind"


def test_patches_that_are_dragged():
    drag = {"radius": 1.0, "points": [[3.5, 2.5], [9, 9], [2.5, 5.6]]}
    region, shift = read_drag(drag, SHAPE)
    assert region.nonzero().tolist() == [[row, column] for row in (1, 2, 3) for column in (2, 3, 4)]
    assert shift == (3, -1)
    assert read_drag({**drag, "radius": 0.1}, SHAPE)[0].nonzero().tolist() == [[2, 3]], "at least one pixel"
    assert [brush_of({"brush": name}) for name in ("sketch", "warp")] == ["sketch", "warp"]
    assert brush_of({}) == "colour"
    session = Session(Explorer(plain()))
    earlier = session.now
    for changed, part in (
        ({"brush": "comb"}, "brush: got 'comb', allowed are colour, sketch, warp"),
        ({"points": [[3, 3], [3.2, 3.3]]}, "points: the patch has not left its place"),
        ({"points": [[30, 3], [3, 3]]}, "points: all of them lie beside the picture"),
        ({"points": [[3, 3], [30, 3]]}, r"shift: got \(0, 27\), allowed are those that leave some"),
        ({"radius": None}, "radius: got None"),
    ):
        with pytest.raises(ValueError, match=part):
            session.paint({**drag, "brush": "warp", **changed})
    assert session.now is earlier
    assert not session.wishes.arguments()


@pytest.mark.parametrize("brush", ["colour", "sketch", "warp"])
def test_every_brush_is_interactive_at_32_pixels(brush):
    networks = {
        "generator": partial(DCGANGenerator, latent_dim=64, channels=16),
        "discriminator": partial(DCGANDiscriminator, channels=16),
    }
    session, spent = Session(Explorer(gan((1, 32, 32), **networks).eval())), []
    for place in (8, 12, 16):
        start = time.thread_time()
        session.paint({**STROKE, "brush": brush, "radius": 4, "points": [[place, place], [place + 6, place]]})
        shown(session, 1)
        spent.append(time.thread_time() - start)
    assert min(spent) < 1, "seconds of a core"


def test_an_edit_reaches_the_upload_in_its_own_resolution(tmp_path):
    session = Session(Explorer(contrasted(gan(SHAPE))))
    with pytest.raises(ValueError, match="There is no upload to edit"):
        session.carry_over()
    pixels = torch.randint(256, (40, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(pixels.numpy()).save(tmp_path / "tall.png")
    session.upload(tmp_path / "tall.png")
    before = session.now
    assert session.edited is None
    assert shown(session, 1)["files"]["edited.png"] == ""
    session.carry_over()
    whole = to_float(pixels[None])
    assert torch.allclose(session.edited, whole, atol=2e-3), "no edit, no change"
    session.paint(STROKE)
    assert session.edited is None, "what is shown belongs to now"
    assert "the upload, 40x24 pixels (height x width)" in session.carry_over()
    path = morph(session.explorer.model, before.latents, session.now.latents)
    expected = whole.clone()
    expected[:, 8:32] = transfer(whole[None, :, 8:32], path)[0]
    assert torch.allclose(session.edited, expected, atol=1e-4), "its middle, which the model has seen"
    assert not torch.allclose(session.edited, whole, atol=0.1)
    assert read(shown(session, 1)["files"]["edited.png"]).size == (24, 40)
    session.keep()
    session.carry_over()
    assert torch.allclose(session.edited, expected, atol=1e-4), "still from the upload on"
    session.undo()
    assert session.edited is None


def test_an_upload_of_too_many_pixels_is_edited_in_small(tmp_path, monkeypatch):
    monkeypatch.setattr("pl_genmodels.explorer.uploads.MOST_PIXELS", 1_000_000)
    Image.new("L", (1200, 1000)).save(tmp_path / "huge.png")
    session = Session(Explorer(contrasted(gan(SHAPE))))
    assert "Edits of it stay in that size: it has more than 1 million pixels." in session.upload(tmp_path / "huge.png")
    with pytest.raises(ValueError, match="There is no upload to edit"):
        session.carry_over()


def test_a_path_leads_from_before_to_now(session):
    with pytest.raises(ValueError, match="the same latents"):
        session.interpolate()
    session.sample(3)
    session.interpolate(5)
    assert len(session.strip) == 5
    assert torch.allclose(session.strip[0].image, session.before.image, atol=1e-5)
    assert torch.allclose(session.strip[-1].image, session.now.image, atol=1e-5)
    third = session.strip[2]
    session.pick(2)
    assert session.now is third
    assert len(session.strip) == 5
    with pytest.raises(ValueError, match="number: got 5, allowed is 0 to 4"):
        session.pick(5)
    session.keep()
    assert session.before is third
    assert not session.strip


def test_the_way_back(session):
    places = [session.now]
    for number in (1, 2):
        session.sample(number)
        places.append(session.now)
    for value in (0.1, 0.2, 0.3):
        session.move(0, value)
    session.keep()
    session.undo()
    assert session.before is places[0]
    for expected in reversed(places):
        session.undo()
        assert session.now is expected, "a dragged slider is one step"
    with pytest.raises(ValueError, match="nothing to undo"):
        session.undo()


# ---- strokes and files


def test_pixels_under_a_stroke():
    mask = covered(torch.tensor([[1.5, 2.5], [4.5, 2.5]]), 0.6, 6, 6)
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[2, 1:5] = True
    assert torch.equal(mask, expected)
    dot = covered(torch.tensor([[3.0, 3.0]]), 1.0, 6, 6)
    assert dot.nonzero().tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]
    assert covered(torch.tensor([[3.9, 0.1]]), 0.01, 6, 6).nonzero().tolist() == [[0, 3]], "at least its own pixel"
    many = torch.rand(200, 2) * 6
    parts = torch.stack([covered(many[place : place + 2], 0.5, 6, 6) for place in range(199)]).any(0)
    assert torch.equal(covered(many, 0.5, 6, 6), parts)


def test_colours():
    assert torch.allclose(colour_of("#ff0000", 3), torch.tensor([1.0, -1.0, -1.0]))
    assert torch.allclose(colour_of("#ff0000", 1), torch.tensor([2 * 0.299 - 1]), atol=1e-6)
    for changed, part in (
        ({"colour": "red"}, "colour: got 'red'"),
        ({"radius": 0}, "radius: got 0, allowed is more than 0, up to 8 pixels"),
        ({"radius": "wide"}, "radius: got 'wide'"),
        ({"points": []}, "points: got no list of 1 to 10000 pairs"),
        ({"points": [[1, float("nan")]]}, "points: got no list"),
        ({"points": [[50, 50]]}, "points: all of them lie beside the picture"),
    ):
        with pytest.raises(ValueError, match=part):
            read_stroke({**STROKE, **changed}, SHAPE)


def read(address):
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_downloads_hold_what_is_shown():
    session = Session(Explorer(conditional("code")))
    session.sample(1)
    session.interpolate(3)
    session.tell([1, 0.25])
    session.paint(STROKE)
    state = shown(session, 3)
    bytes_of = (session.now.image[0] * 127.5 + 127.5).round().to(torch.uint8)
    assert np.array_equal(np.array(read(state["files"]["now.png"])), bytes_of.numpy())
    assert read(state["files"]["before_now.png"]).size == (2 * 64, 64)
    assert state["files"]["path.png"] == ""
    assert state["strip"] == []
    saved = np.load(io.BytesIO(base64.b64decode(state["files"]["latents.npz"].partition(",")[2])))
    assert np.array_equal(saved["latents"], session.now.latents.numpy())
    assert saved["code"].tolist() == [1, 0.25]
    assert len(state["painted"]) == int(session.wishes.colour_mask.sum())
    assert all(colour == "#ffffff" for _, _, colour in state["painted"])
    session.interpolate(3)
    assert len(shown(session, 4)["strip"]) == 3
    colour = torch.rand(3, 4, 5) * 2 - 1
    assert read(png_of(colour)).getpixel((2, 1)) == tuple((colour[:, 1, 2] * 127.5 + 127.5).round().int().tolist())
    assert read(png_of(row_of([colour, colour]))).size == (2 * 5 * 13, 4 * 13)


# ---- the command


def test_refusals(tmp_path, capsys, monkeypatch):
    def sentence(*arguments):
        return fails(capsys, "explore", "--ckpt_path", str(tmp_path / "none.ckpt"), *arguments)

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert (
        "explore: needs the package gradio, which is not installed; pip install 'pl_genmodels[explore]'" in sentence()
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    for wrong in (["--port", "0"], ["--num_axes", "0"]):
        assert "allowed is 1" in sentence(*wrong)
    monkeypatch.setattr("pl_genmodels.checkpoints.load", lambda path: PCA(SHAPE))
    said = sentence()
    assert "explore: the checkpoint is of a PCA, which has no latents; allowed for it are sample, encode" in said
    monkeypatch.setattr("pl_genmodels.checkpoints.load", lambda path: gan((2,)))
    assert "explore: the model makes samples of shape (2,), allowed are pictures" in sentence()
