"""The commands that move through latents, from a checkpoint."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from pl_genmodels.cli import main
from pl_genmodels.data import Digits
from tests.small import gan
from tests.test_cli import fails


@pytest.fixture(scope="module")
def last(tmp_path_factory):
    """A checkpoint of a GAN of digits after two batches."""
    path = str(tmp_path_factory.mktemp("run") / "last.ckpt")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_steps=2, limit_val_batches=0, enable_checkpointing=False, **quiet)
    torch.manual_seed(0)
    trainer.fit(gan((1, 16, 16)), Digits(16))
    trainer.save_checkpoint(path)
    return path


def test_editing_commands(last, tmp_path, capsys):
    made = str(tmp_path / "made")
    main(["sample", "--ckpt_path", last, "--num_samples", "3", "--out", made])
    Image.new("RGB", (20, 30)).save(tmp_path / "other.png")
    few = ["--num_starts", "2", "--num_steps", "2"]
    main(["project", "--ckpt_path", last, "--input", made, "--out", str(tmp_path / "z.npz"), *few])
    found = np.load(tmp_path / "z.npz")
    assert found["latents"].shape[0] == 3
    assert found["files"].tolist() == ["000000.png", "000001.png", "000002.png"]
    capsys.readouterr()
    other = str(tmp_path / "other.png")
    main(["project", "--ckpt_path", last, "--input", other, "--out", str(tmp_path / "p.png"), *few])
    assert "other.png has 30x20 pixels (height x width), resized to" in capsys.readouterr().err
    for arguments in (
        ["interpolate", "--between", "2,0,1", "--num_steps", "3"],
        ["arithmetic", "--a", "0,1", "--b", "2", "--c", "3,4,5"],
        ["neighbours", "--num_samples", "2", "--num_neighbours", "2"],
    ):
        out = tmp_path / f"{arguments[0]}.png"
        main([*arguments, "--ckpt_path", last, "--out", str(out)])
        assert Image.open(out).size[0] > 100
    main(["inpaint", "--ckpt_path", last, "--input", made, "--mask", "left", "--out", str(tmp_path / "f.png"), *few])
    assert Image.open(tmp_path / "f.png").size[0] > 8 * 64
    out, path = str(tmp_path / "edited.png"), str(tmp_path / "path.png")
    for arguments in (["--colour", f"{made}/000001.png", "--path", path], ["--sketch", f"{made}/000002.png"],
                      ["--region", "2,2,8,8", "--shift", "3,-1"],
                      ["--colour", f"{made}/000001.png", "--transfer", "error"]):  # fmt: skip
        main(["edit", "--ckpt_path", last, "--input", other, "--out", out, "--num_steps", "2", *arguments])
        edited, whole = np.asarray(Image.open(out)), np.asarray(Image.open(other).convert("L"))
        assert edited.shape == (30, 20)
        assert (edited[[0, 1, -2, -1]] == whole[[0, 1, -2, -1]]).all(), "the central square alone is changed"
    assert Image.open(path).size[0] > 8 * 64
    pasted = ["--foreground", other, "--background", other, "--mask", other]
    for arguments in ([], ["--ckpt_path", last, *few]):
        main(["blend", *pasted, "--out", out, *arguments])
        assert Image.open(out).size == (20, 30)
    assert "mask: got 16x16 pixels (height x width), allowed are those of the background, 30x20" in fails(
        capsys, "blend", *pasted[:4], "--mask", f"{made}/000001.png"
    )
    capsys.readouterr()
    main(["anogan", "--ckpt_path", last, "--input", made, "--out", str(tmp_path / "s.png"), *few])
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()[:3]]
    assert sorted(name for _, name in lines) == found["files"].tolist()
    scores = [float(score) for score, _ in lines]
    assert scores == sorted(scores, reverse=True)
    (tmp_path / "text.png").write_text("no picture")
    for arguments, part in (
        (["project", "--input", str(tmp_path / "text.png")], "text.png: cannot be read as a picture"),
        (["project", "--input", other, "--out", "z.txt"], "out: got 'z.txt', allowed are files ending in .png or .npz"),
        (["project", "--input", other, "--start", "encoder"], "without encoder, is random"),
        (["interpolate", "--between", "x"], "between: got 'x', allowed are numbers of samples such as 3,17,5"),
        (["interpolate", "--between", "1"], "allowed are 2 samples or pictures or more"),
        (["inpaint", "--input", other, "--mask", "middle"], "mask: got 'middle', allowed are top, bottom, left, right"),
        (["inpaint", "--input", other, "--window", "4"], "window: got 4, allowed are odd numbers from 3 on"),
        (["anogan", "--input", other, "--discrimination_weight", "2"], "allowed are values in [0, 1]"),
        (["edit", "--input", other], "colour: got nothing to edit by, allowed are colour, sketch, both, or region"),
        (["edit", "--input", other, "--transfer", "copy"], "transfer: got 'copy', allowed are motion, error"),
        (["edit", "--input", other, "--region", "1,2"], "region: got '1,2', allowed are 4 whole numbers"),
        (["interpolate", "--label", "1"], "has no labels; leave it out"),
    ):
        assert part in fails(capsys, *arguments, "--ckpt_path", last)
