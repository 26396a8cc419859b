"""Deep generative models as LightningModules, each trained from one YAML.

Every model of the catalogue can be imported from here by its class name:

>>> from lightning.pytorch import Trainer
>>> from pl_genmodels import WGANGP, load
>>> Trainer(max_steps=1000).fit(WGANGP(), your_datamodule)  # doctest: +SKIP
>>> load("runs/wgan_gp/version_0/checkpoints/last.ckpt").sample(64)  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pl_genmodels.catalogue import systems
    from pl_genmodels.checkpoints import load

__version__ = "0.1.0"
__all__ = ["load", "systems"]


def __getattr__(name: str) -> Any:
    """`load`, `systems`, and models by class name, found through the catalogue when they are asked for."""
    if name not in __all__ and not name[0].isupper():  # Python asks here for subpackages first
        raise AttributeError(f"module 'pl_genmodels' has no attribute {name!r}")
    from pl_genmodels.catalogue import systems
    from pl_genmodels.checkpoints import load

    known = {"load": load, "systems": systems, **{system.model.__name__: system.model for system in systems()}}
    if name not in known:
        raise AttributeError(f"module 'pl_genmodels' has no attribute {name!r}")
    return known[name]


def __dir__() -> list[str]:
    """Names to complete."""
    from pl_genmodels.catalogue import systems

    return [*__all__, *sorted(system.model.__name__ for system in systems())]
