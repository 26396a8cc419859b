"""The command that opens a page in the browser."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import threading

from pl_genmodels.cli.editing import latent_space


def explore(
    ckpt_path: str, port: int | None = None, seed: int = 0, num_axes: int = 10, open_browser: bool = False
) -> None:
    """Open a local page with a checkpoint's latents: sliders, samples, paths, uploads, brushes; Ctrl-C ends it.

    Args:
        ckpt_path: Checkpoint of a model with latents.
        port: Of the page, which only this machine can reach; by default the first free one from 7860 on.
        seed: Of the samples.
        num_axes: Most sliders: coordinates of the latent, or of a longer one directions in which pictures change most.
        open_browser: Show the page in the default browser.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ValueError(
            "explore: needs the package gradio, which is not installed; pip install 'pl_genmodels[explore]'"
        )
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"port: got {port}, allowed is 1 to 65535")
    if num_axes < 1:
        raise ValueError(f"num_axes: got {num_axes}, allowed is 1 or more")
    from pl_genmodels.explorer import Explorer

    explorer = Explorer(latent_space("explore", ckpt_path).model, seed, num_axes)
    # read when Gradio and what it brings along are imported: nothing is told to anybody
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = os.environ["HF_HUB_OFFLINE"] = "1"
    from pl_genmodels.explorer.page import Page

    with tempfile.TemporaryDirectory(prefix="pl_genmodels_") as uploads:  # gone when the page is
        os.environ["GRADIO_TEMP_DIR"] = uploads
        print(f"{Page(explorer).launch(port, open_browser)} shows the page; Ctrl-C ends it", flush=True)
        threading.Event().wait()
