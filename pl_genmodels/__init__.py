"""Deep generative models as LightningModules, each trained from one YAML.

Every model of the catalogue can be imported from here by its class name:

>>> from lightning.pytorch import Trainer
>>> from pl_genmodels import WGANGP, load
>>> Trainer(max_steps=1000).fit(WGANGP(), your_datamodule)  # doctest: +SKIP
>>> load("runs/wgan_gp/version_0/checkpoints/last.ckpt").sample(64)  # doctest: +SKIP
"""

from typing import Any

from pl_genmodels.catalogue import systems
from pl_genmodels.checkpoints import load

__version__ = "0.1.0"
__all__ = ["load", "systems"]


def __getattr__(name: str) -> Any:
    """Models by class name, found through the catalogue."""
    for system in systems():
        if system.model.__name__ == name:
            return system.model
    raise AttributeError(f"module 'pl_genmodels' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names to complete."""
    return [*__all__, *sorted(system.model.__name__ for system in systems())]
