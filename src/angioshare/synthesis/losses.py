"""The losses of the Wasserstein GAN, one function a formula.

Every function maps critic scores to losses of single pairs, so that a private engine can bound each by itself.
"""

from torch import Tensor


def critic_real(scores: Tensor) -> Tensor:
    """Critic loss of real pairs, -D(x): the private term (Arjovsky et al. 2017, Algorithm 1, line 5).

    Example:
        >>> import torch
        >>> critic_real(torch.tensor([2.0]))
        tensor([-2.])
    """
    return -scores


def critic_synthetic(scores: Tensor) -> Tensor:
    """Critic loss of synthetic pairs, D(G(z)): post-processing, free.

    Example:
        >>> import torch
        >>> critic_synthetic(torch.tensor([2.0]))
        tensor([2.])
    """
    return scores


def generator(scores: Tensor) -> Tensor:
    """Generator loss, -D(G(z)) (Arjovsky et al. 2017, Algorithm 1, line 10).

    Example:
        >>> import torch
        >>> generator(torch.tensor([2.0]))
        tensor([-2.])
    """
    return -scores
