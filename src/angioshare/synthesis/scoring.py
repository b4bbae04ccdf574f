"""What the critic thinks of generated pairs, for the generator's update: the same numbers in less time.

The critic's steps take each layer in its fastest way (`privacy/convolution.py`). The generator's update goes through
the same critic, so the same ways serve it. They are chosen by rule, never by a measured time, so that the same seed
gives the same networks. No real pair is here, and nothing private.
"""

from torch import Tensor, nn

from angioshare.errors import SettingsError
from angioshare.privacy.kernels import forward
from angioshare.privacy.layers import allowed_layers
from angioshare.privacy.normleaky import fits, norm_then_leaky
from angioshare.privacy.tuning import ways_for


def scores(critic: nn.Module, pairs: Tensor) -> Tensor:
    """Scores whose derivatives reach the pairs, and through them the generator.

    Args:
        critic: A Sequential of allowed layers, none of its parameters trainable now.
        pairs: Shape (n, ...).

    Returns:
        What `critic(pairs)` gives.

    Raises:
        SettingsError: A parameter is trainable: not every way has a derivative for it.
        PrivacyError: The critic has a layer that is not allowed in one.

    Example:
        >>> import torch
        >>> critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 1)).requires_grad_(False)
        >>> scores(critic, torch.zeros(3, 1, 2, 2)).shape
        torch.Size([3, 1])
    """
    if any(parameter.requires_grad for parameter in critic.parameters()):
        raise SettingsError("the critic trains while it scores for the generator; switch its requires_grad off first")
    x, left = pairs, list(reversed(allowed_layers(critic)))
    while left:
        layer = left.pop()
        if left and fits(layer, left[-1], x):
            x = norm_then_leaky(layer, left.pop(), x)
        else:
            x = forward(layer, x, ways_for(layer, tuple(x.shape[1:]), None, x, first=False))
    return x
