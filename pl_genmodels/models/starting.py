"""Networks whose normalised layers start from the first batch of training."""

from __future__ import annotations

from collections.abc import Callable

from pl_genmodels.layers.weight_norm import start_from_data
from pl_genmodels.models.averaging import AveragedModule
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.sharding import gathered, set_parameters


def start_from_first_batch(model: AveragedModule, run: Callable[[], object]) -> None:
    """Set gains and biases of the trained network, and of its average, for the first batches of all ranks.

    Args:
        model: In training, within its Trainer.
        run: Passes this rank's batch through the trained network.
    """
    average = model.trainer.strategy.reduce
    with gathered(model), evaluating(model.trained):
        values = start_from_data(model.trained, run, lambda mean: average(mean.clone(), reduce_op="mean"))
    for network in [model.trained] if model.average is None else [model.trained, model.average]:
        set_parameters(network, values)
