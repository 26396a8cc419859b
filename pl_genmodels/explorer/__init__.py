"""A page in the browser on which one moves through a model's latents; only `page` needs Gradio."""

from pl_genmodels.explorer.explorer import Axis, Explorer, Place
from pl_genmodels.explorer.session import Session

__all__ = ["Axis", "Explorer", "Place", "Session"]
