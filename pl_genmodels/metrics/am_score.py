"""How certain a classifier is of samples, and how far their classes are from those of the data."""

from __future__ import annotations

import torch
from torch import Tensor


def am_score(real: Tensor, fake: Tensor) -> Tensor:
    r"""AM score, $E_x H(C(x)) + KL(\bar y_{real} \| \bar y_{fake})$ over generated x (Zhou et al. 2018, section 5).

    The classifier C should have learnt from the data that the real images are of. Other than the inception score, this
    one does not mistake classes in their natural unequal shares for a fault.

    Args:
        real: Logits of real images, (N, K).
        fake: Logits of generated images, (N', K).

    Returns:
        Nats, (); 0 at best.
    """
    log_fake = fake.double().log_softmax(1)
    entropy = -(log_fake.exp() * log_fake).sum(1).mean()
    of_real, of_fake = real.double().softmax(1).mean(0), log_fake.exp().mean(0)
    return entropy + (torch.xlogy(of_real, of_real) - torch.xlogy(of_real, of_fake)).sum()
