"""Which layers a private critic may have, and the proof that a given one has no others.

A unit's gradient is bounded on its own only if no layer lets one row of a batch see another, and nothing is remembered
from one batch to the next. That is checked by an allow-list of exact types: what is not known is refused.
"""

from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from angioshare.errors import PrivacyError
from angioshare.privacy.branches import Beside, FirstChannels, SquaredError

LEARNING: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv2d, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm)
"""Layers with parameters; each has its kernels in `kernels.py`."""

PLAIN: tuple[type[nn.Module], ...] = (
    nn.Identity, nn.Flatten, nn.Unflatten, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.MaxPool2d, nn.Upsample,
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Softplus, nn.Tanh, nn.Sigmoid, FirstChannels, SquaredError,
)  # fmt: skip
"""Layers without parameters that treat each row by itself."""

_MAPS = (nn.Conv2d, nn.InstanceNorm2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.MaxPool2d)
"""Layers that take the rows of a batch for channels of one map if the rows are no maps themselves."""

_REASONS = {
    "BatchNorm": "it mixes the rows of a batch and keeps running statistics; take GroupNorm",
    "Dropout": "it draws from a generator that is neither secret nor counted; leave it out",
    "Transformer": "its kernels are not written; build the critic of allowed layers",
}


def allowed_layers(critic: nn.Module) -> list[nn.Module]:
    """The layers of a critic in the order in which they run; a branch (`Beside`) is one of them.

    Args:
        critic: An `nn.Sequential`, or a subclass that leaves `forward` alone; may be nested.

    Raises:
        PrivacyError: It has a layer, a hook or a buffer that is not known to be safe, or a parameter used twice.

    Guarantees:
        Row i of the critic's output depends on row i of its input and the parameters alone.

    Example:
        >>> [type(layer).__name__ for layer in allowed_layers(nn.Sequential(nn.Linear(2, 1), nn.Tanh()))]
        ['Linear', 'Tanh']
    """
    if _has_any_global_hook():  # type: ignore[no-untyped-call]
        raise PrivacyError("PyTorch holds hooks for all modules, which could mix units; remove them before training")
    layers = list(_flat(critic, "critic"))
    parameters = [id(parameter) for layer in _single(layers) for parameter in layer.parameters()]
    if len(set(parameters)) < len(parameters):
        raise PrivacyError("critic uses a parameter twice, so that its gradient has no bound layer by layer; untie it")
    for parameter in critic.parameters():
        if parameter.dtype.itemsize < 4 or not parameter.dtype.is_floating_point:
            raise PrivacyError(f"critic has {parameter.dtype} parameters; clip and sum in float32 or float64")
    return layers


def learning_layers(critic: nn.Module) -> list[nn.Module]:
    """The layers with parameters in the order in which they run, those inside branches included.

    Raises:
        PrivacyError: As `allowed_layers`.

    Example:
        >>> inside = Beside(nn.Conv2d(3, 1, 1), nn.SiLU())
        >>> [layer.out_channels for layer in learning_layers(nn.Sequential(inside, nn.Conv2d(4, 2, 1)))]
        [1, 2]
    """
    return [layer for layer in _single(allowed_layers(critic)) if isinstance(layer, LEARNING)]


def check_rows(layer: nn.Module, x: Tensor) -> None:
    """Refuse an input on whose axis 0, the rows, a layer would do more than treat each of them by itself.

    Some layers of the list choose their axes by how many the input has, so that the type alone does not tell.

    Args:
        layer: One of the allowed layers, or a branch.
        x: What is about to go in, shape (n, ...).

    Raises:
        PrivacyError: It would take rows for channels or features, and so mix units.

    Example:
        >>> import torch
        >>> check_rows(nn.LayerNorm(3), torch.zeros(2, 3))
        >>> check_rows(nn.LayerNorm([2, 3]), torch.zeros(2, 3))
        Traceback (most recent call last):
        angioshare.errors.PrivacyError: LayerNorm on shape (2, 3) would mix the rows of a batch; it takes 3 axes or more
    """
    least = 2
    if isinstance(layer, nn.LayerNorm):
        least = len(layer.normalized_shape) + 1
    elif isinstance(layer, nn.Unflatten) and int(layer.dim) < 0:
        least = 1 - int(layer.dim)
    elif isinstance(layer, nn.Upsample):
        least = 3
    wrong = x.dim() != 4 if isinstance(layer, _MAPS) else x.dim() < least
    if wrong:
        takes = "4 axes" if isinstance(layer, _MAPS) else f"{least} axes or more"
        kind, shape = type(layer).__name__, tuple(x.shape)
        raise PrivacyError(f"{kind} on shape {shape} would mix the rows of a batch; it takes {takes}")


def _single(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Open branches."""
    for layer in layers:
        if isinstance(layer, Beside):
            yield from _single(_flat(layer.inner, "inner"))
        else:
            yield layer


def _flat(module: nn.Module, name: str) -> Iterator[nn.Module]:
    """Walk through nested Sequentials and check each part."""
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        _refuse_extras(module, name)
        for index, part in enumerate(module):
            yield from _flat(part, f"{name}.{index}")
    elif type(module) is Beside:
        _refuse_extras(module, name)
        list(_flat(module.inner, f"{name}.inner"))
        yield module
    else:
        _check_layer(module, name)
        _refuse_extras(module, name)
        yield module


def _refuse_extras(module: nn.Module, name: str) -> None:
    """Refuse what changes a layer's behaviour from outside its type."""
    hooks = (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )  # fmt: skip
    replaced = [key for key, value in vars(module).items() if callable(value) and hasattr(type(module), key)]
    if hooks or replaced:
        raise PrivacyError(f"{name} has hooks or a method of its own, which could mix units; remove them")
    if next(module.buffers(recurse=False), None) is not None:
        raise PrivacyError(f"{name} ({type(module).__name__}) keeps a buffer, which could remember units; leave it out")


def _check_layer(layer: nn.Module, name: str) -> None:
    kind = type(layer)
    if kind not in LEARNING + PLAIN:
        cure = next((why for word, why in _REASONS.items() if word in kind.__name__), "it is not known to be safe")
        raise PrivacyError(f"{name} is a {kind.__name__}: {cure} (allowed: {allowed_names()})")
    if isinstance(layer, nn.Conv2d) and (layer.groups != 1 or layer.padding_mode != "zeros" or layer.padding == "same"):
        raise PrivacyError(
            f"{name}: Conv2d with groups={layer.groups}, padding={layer.padding!r}, {layer.padding_mode!r} padding "
            "has no kernel; take groups=1, padding in pixels and padding_mode='zeros'"
        )
    if isinstance(layer, nn.Flatten) and layer.start_dim != 1:
        raise PrivacyError(f"{name}: Flatten from axis {layer.start_dim} mixes units; take start_dim=1")
    if isinstance(layer, nn.Unflatten) and not _is_other_axis(layer.dim):
        raise PrivacyError(f"{name}: Unflatten of axis {layer.dim!r} could mix units; take the number of another axis")
    if getattr(layer, "inplace", False):
        raise PrivacyError(f"{name}: {kind.__name__} in place overwrites what gradients are made of; set inplace=False")


def _is_other_axis(axis: int | str) -> bool:
    """Whether an axis is told by its number, and is not axis 0; one counted from the end waits for `check_rows`."""
    return isinstance(axis, int) and axis != 0


def allowed_names() -> str:
    """The allow-list in words."""
    return ", ".join(["Sequential", "Beside", *(kind.__name__ for kind in LEARNING + PLAIN)])
