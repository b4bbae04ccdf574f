"""Rules 3 to 6: each unit's gradient, clipped by itself, in full precision, whatever the unit holds."""

import copy
import itertools
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy import kernels
from angioshare.privacy.backward import Loss
from angioshare.privacy.clipping import ClippedGradients

FAILED = (AssertionError, pytest.fail.Exception, RuntimeError)
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(6, 5), (6,)),
    "linear without bias": (nn.Linear(6, 5, bias=False), (6,)),
    "linear over pixels": (nn.Linear(6, 5), (2, 3, 6)),
    "convolution, direct": (nn.Conv2d(2, 3, 3, 1, 1), (2, 7, 7)),
    "convolution, by Gram matrices": (nn.Conv2d(8, 16, 3, 2, 1), (8, 4, 4)),
    "convolution, dilated, uneven": (nn.Conv2d(2, 4, (3, 2), (1, 2), (2, 1), dilation=(2, 1)), (2, 8, 9)),
    "convolution, padding by word": (nn.Conv2d(2, 4, 3, padding="valid"), (2, 6, 6)),
    "instance norm": (nn.InstanceNorm2d(3, affine=True), (3, 4, 4)),
    "instance norm without weights": (nn.Sequential(nn.Conv2d(3, 2, 1), nn.InstanceNorm2d(2)), (3, 4, 4)),
    "group norm": (nn.GroupNorm(2, 4), (4, 3, 3)),
    "group norm of vectors": (nn.GroupNorm(2, 4), (4, 5)),
    "layer norm": (nn.LayerNorm(6), (6,)),
    "layer norm over pixels": (nn.LayerNorm([3, 4]), (2, 3, 4)),
    "layer norm of the last axis": (nn.LayerNorm(4), (2, 3, 4)),
}


def cubed(scores: Tensor) -> Tensor:
    return scores**3 - scores


def as_units(clipped: ClippedGradients, rows: Tensor, loss: Loss) -> list[Tensor]:
    return clipped.clipped_sum(rows, [(len(rows), loss, 1.0)])


def by_hand(critic: nn.Module, rows: Tensor, loss: Loss, clip_norm: float) -> list[Tensor]:
    """Algorithm 1 of Abadi et al. with nothing but autograd: the independent twin."""
    parameters = [p for p in critic.parameters() if p.requires_grad]
    sums = [torch.zeros_like(p) for p in parameters]
    for row in rows:
        gradient = torch.autograd.grad(loss(critic(row[None]).flatten()).sum(), parameters)
        norm = torch.sqrt(sum((g**2).sum() for g in gradient))
        for total, g in zip(sums, gradient, strict=True):
            total += g * min(1.0, clip_norm / float(norm)) if torch.isfinite(norm) else 0.0
    return sums


def distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """L2 distance over all parameters together; infinite if anything is not finite."""
    total = sum((a.double() - b.double()).square().sum() for a, b in zip(first, second, strict=True))
    return float(torch.sqrt(torch.as_tensor(total)).nan_to_num(nan=float("inf")))


def critic_around(layer: nn.Module, shape: tuple[int, ...]) -> nn.Sequential:
    made = nn.Sequential(nn.Identity(), layer, nn.Tanh(), nn.Flatten())
    width = made(torch.zeros(1, *shape)).shape[1]
    return made.append(nn.Linear(width, 1)).double()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("clip_norm", [1e-3, 1e6])
def test_unit_gradients_equal_a_loop_over_units_for_each_layer(name: str, clip_norm: float) -> None:
    torch.manual_seed(1)
    layer, shape = LAYERS[name]
    critic = critic_around(copy.deepcopy(layer), shape)
    for parameter in critic.parameters():
        nn.init.normal_(parameter)
    rows = torch.randn(5, *shape, dtype=torch.float64)
    clipped = ClippedGradients(critic, clip_norm)
    expected = by_hand(critic, rows, cubed, clip_norm * (1 - 1e-5))
    scale = max(1.0, distance(expected, [torch.zeros_like(g) for g in expected]))
    assert distance(as_units(clipped, rows, cubed), expected) < 1e-10 * scale
    assert distance(clipped.clipped_sum_of_units(rows, torch.arange(5), cubed), expected) < 1e-10 * scale


def test_unit_gradients_equal_a_loop_for_the_published_critic() -> None:
    torch.manual_seed(2)
    widths = [2, 4, 8, 16, 32, 64]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)]
    critic = nn.Sequential(*layers, nn.Conv2d(64, 1, 4, 2, 1, bias=False), nn.Flatten()).double()
    rows = torch.randn(6, 2, 96, 96, dtype=torch.float64)
    found = ClippedGradients(critic, 0.5, most_rows=4).clipped_sum(rows, [(6, torch.neg, 1.0)])
    assert distance(found, by_hand(critic, rows, torch.neg, 0.5 * (1 - 1e-5))) < 1e-10


@pytest.mark.parametrize("most_rows", [1, 2, 3, 100])
def test_microbatches_change_nothing(critic: nn.Sequential, rows: Callable[[int], Tensor], most_rows: int) -> None:
    pieces = [(4, cubed, 1.0), (3, torch.neg, 2.5)]
    whole = ClippedGradients(critic, 0.1).clipped_sum(rows(7), pieces)
    assert distance(ClippedGradients(critic, 0.1, most_rows).clipped_sum(rows(7), pieces), whole) < 1e-12


def test_a_units_rows_count_as_their_mean_and_are_clipped_once(
    critic: nn.Sequential, rows: Callable[[int], Tensor]
) -> None:
    x, groups = rows(7), torch.tensor([2, 0, 2, 2, 0, 2, 2])
    parameters = list(critic.parameters())
    expected = [torch.zeros_like(p) for p in parameters]
    for unit in (0, 2):
        gradient = torch.autograd.grad(cubed(critic(x[groups == unit]).flatten()).mean(), parameters)
        norm = float(torch.sqrt(sum((g**2).sum() for g in gradient)))
        for total, g in zip(expected, gradient, strict=True):
            total += g * min(1.0, 0.2 * (1 - 1e-5) / norm)
    found = ClippedGradients(critic, 0.2, most_rows=2).clipped_sum_of_units(x, groups, cubed)
    assert distance(found, expected) < 1e-12


class BatchClipped(ClippedGradients):
    """Clips the mean gradient of the batch."""

    def clipped_sum(self, rows: Tensor, losses: Sequence[tuple[int, Loss, float]]) -> list[Tensor]:
        one_group = torch.zeros(len(rows), dtype=torch.int64)
        none = [torch.zeros_like(p) for p in self.parameters()]
        whole = next(iter(self._mean_gradients(rows, one_group, losses[0][1])), none)
        factor = self._factors(sum(g.double().square().sum() for g in whole).view(1)).item()
        return [g * factor * len(rows) for g in whole]


class LayerClipped(ClippedGradients):
    """Clips each layer to C by itself."""

    def _one_pass(self, rows: Tensor, pieces: list[tuple[int, Loss, float]]) -> list[Tensor]:
        whole = kernels.squared_norms
        found = []
        for index in range(len(self.parameters())):
            kernels_of_one = iter(range(100))
            self_only = lambda kept, n=index, k=kernels_of_one: whole(kept) * (next(k) == n)  # noqa: E731
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("angioshare.privacy.clipping.squared_norms", self_only)
                found.append(super()._one_pass(rows, pieces)[index])
        return found


class NeverClipped(ClippedGradients):
    def _factors(self, squared: Tensor) -> Tensor:
        return torch.where(squared.isfinite(), torch.ones_like(squared), 0.0)


class NotFiniteLetThrough(ClippedGradients):
    def _factors(self, squared: Tensor) -> Tensor:
        return (self._bound / squared.sqrt().clamp_min(1e-300)).clamp_max(1.0)


class HalfPrecisionSum(ClippedGradients):
    def clipped_sum(self, rows: Tensor, losses: Sequence[tuple[int, Loss, float]]) -> list[Tensor]:
        parts = [super(HalfPrecisionSum, self).clipped_sum(row[None], [(1, losses[0][1], 1.0)]) for row in rows]
        zero = [torch.zeros_like(p, dtype=torch.float16) for p in self.parameters()]
        for part in parts:
            zero = [total + g.half() for total, g in zip(zero, part, strict=True)]
        return [total.double() for total in zero]


def hostile_pairs(rows: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Others, and one unit that comes on top of them: empty, huge, tiny, against the rest, not finite."""
    others = rows[1:]
    units = [rows[0], rows[0] * 1e12, rows[0] * 0, others[0] * -30, rows[0] * 1e-30, rows[0] * 1e300]
    units += [torch.full_like(rows[0], float("nan")), torch.full_like(rows[0], float("inf"))]
    return [(o, unit[None]) for unit in units for o in (others[:0], others[:1], others)]


def linear_critic() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 3), nn.LeakyReLU(0.2), nn.Linear(3, 1)).double()


def check_one_unit_moves_the_sum_by_at_most_c(make: Callable[[nn.Module, float], ClippedGradients]) -> None:
    rows = torch.randn(6, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    for critic in (linear_critic(), linear_critic().float()):
        clipped, kind = make(critic, 0.5), critic[1].weight.dtype
        for others, unit in hostile_pairs(rows):
            without = as_units(clipped, others.to(kind), cubed)
            assert distance(as_units(clipped, torch.cat((others, unit)).to(kind), cubed), without) <= 0.5


def check_sum_is_exact(make: Callable[[nn.Module, float], ClippedGradients]) -> None:
    rows = torch.randn(40, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    critic = linear_critic()
    for bad in (None, float("nan"), float("inf")):
        if bad is not None:
            rows[3] = bad
        found = as_units(make(critic, 0.5), rows, cubed)
        assert distance(found, by_hand(critic, rows, cubed, 0.5 * (1 - 1e-5))) < 1e-10


@pytest.mark.parametrize("check", [check_one_unit_moves_the_sum_by_at_most_c, check_sum_is_exact])
def test_clipped_sum_holds(check: Callable[[object], None]) -> None:
    check(ClippedGradients)


@pytest.mark.parametrize("mutant", [BatchClipped, LayerClipped, NeverClipped, NotFiniteLetThrough])
def test_check_of_sensitivity_catches(mutant: type[ClippedGradients]) -> None:
    with pytest.raises(FAILED):
        check_one_unit_moves_the_sum_by_at_most_c(mutant)


@pytest.mark.parametrize("mutant", [BatchClipped, LayerClipped, NeverClipped, NotFiniteLetThrough, HalfPrecisionSum])
def test_check_of_exact_sum_catches(mutant: type[ClippedGradients]) -> None:
    with pytest.raises(FAILED):
        check_sum_is_exact(mutant)


def test_a_loss_cannot_couple_units(critic: nn.Sequential, rows: Callable[[int], Tensor]) -> None:
    """A loss over the whole batch, as in relativistic critics, sees one score at a time and so becomes constant."""
    found = as_units(ClippedGradients(critic, 1.0), rows(4), lambda scores: scores - scores.mean())
    assert distance(found, [torch.zeros_like(g) for g in found]) == 0


class LetsEverythingThrough(ClippedGradients):
    """Runs whatever it is given."""

    def __init__(self, critic: nn.Module, clip_norm: float) -> None:
        self._passes, self._bound, self._most_rows = critic, clip_norm, 256


class Overridden(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0))


def unsafe_critics() -> dict[str, nn.Module]:
    tied = nn.Linear(3, 3)
    hooked, replaced, wrapped = (nn.Sequential(nn.Linear(3, 1)) for _ in range(3))
    hooked[0].register_forward_hook(lambda module, given, made: made - made.mean(0))
    replaced[0].forward = lambda x: x.mean(0, keepdim=True)  # type: ignore[method-assign]
    nn.utils.parametrizations.weight_norm(wrapped[0])
    deep = nn.Sequential(nn.Conv2d(2, 1, 3))
    deep[0]._conv_forward = lambda x, weight, bias: x.mean(0, keepdim=True)  # type: ignore[method-assign]
    named = nn.Unflatten(1, (1, 1))
    named.dim = "rows"
    return {
        "batch norm": nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 1)),
        "tracked instance norm": nn.Sequential(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4, track_running_stats=True)),
        "dropout": nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.1)),
        "unknown layer": nn.Sequential(nn.Linear(3, 3), nn.Softmax(0)),
        "softened subclass": nn.Sequential(type("Linear", (nn.Linear,), {})(3, 1)),
        "forward of its own": Overridden(nn.Linear(3, 1)),
        "exchanged forward": replaced,
        "hook": hooked,
        "parametrised": wrapped,
        "tied layer": nn.Sequential(tied, nn.Tanh(), tied),
        "grouped convolution": nn.Sequential(nn.Conv2d(2, 4, 3, groups=2)),
        "circular padding": nn.Sequential(nn.Conv2d(2, 4, 3, padding_mode="circular")),
        "flatten of the batch": nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)),
        "unflatten of the batch": nn.Sequential(nn.Linear(3, 1), nn.Unflatten(0, (1, -1))),
        "exchanged convolution": deep,
        "unflatten by name": nn.Sequential(nn.Linear(3, 1), named),
        "activation in place": nn.Sequential(nn.Linear(3, 3), nn.LeakyReLU(0.2, inplace=True), nn.Linear(3, 1)),
        "half precision": nn.Sequential(nn.Linear(3, 1)).half(),
        "nothing to train": nn.Sequential(nn.Linear(3, 1)).requires_grad_(False),
    }


def check_unsafe_critic_is_refused(make: Callable[[nn.Module, float], object], name: str) -> None:
    with pytest.raises(PrivacyError):
        make(unsafe_critics()[name], 1.0)


@pytest.mark.parametrize("name", unsafe_critics())
def test_unsafe_critic_is_refused(name: str) -> None:
    check_unsafe_critic_is_refused(ClippedGradients, name)


@pytest.mark.parametrize("name", unsafe_critics())
def test_check_of_critics_catches_one_that_lets_it_through(name: str) -> None:
    with pytest.raises(FAILED):
        check_unsafe_critic_is_refused(LetsEverythingThrough, name)


def rows_that_would_mix() -> dict[str, tuple[nn.Module, Tensor]]:
    """Critics of allowed layers, and four rows of a shape for which one of the layers takes rows for something else."""
    torch.manual_seed(9)
    maps, vectors = torch.randn(4, 5, 5), torch.randn(4, 3)
    fixed_map, fixed = nn.Conv2d(4, 4, 3).requires_grad_(False), nn.Linear(4, 4).requires_grad_(False)
    return {
        "layer norm over the rows": (nn.Sequential(nn.LayerNorm([4, 3]), nn.Linear(3, 1)), vectors),
        "convolution over the rows": (nn.Sequential(fixed_map, nn.Flatten(), nn.Linear(9, 1)), maps),
        "linear over the rows": (nn.Sequential(fixed, nn.Unflatten(-1, (4, 1)), nn.Linear(1, 1)), torch.randn(4)),
        "unflatten from the end": (nn.Sequential(nn.Unflatten(-2, (1, 4)), nn.Flatten(), nn.Linear(12, 4)), vectors),
    }


def lets_all_shapes_through(layer: nn.Module, x: Tensor) -> None:
    """The allow-list by type alone."""


def check_rows_that_would_mix_are_refused(name: str) -> None:
    critic, rows = rows_that_would_mix()[name]
    with pytest.raises(PrivacyError, match="mix the rows of a batch"):
        as_units(ClippedGradients(critic, 1.0), rows, cubed)


@pytest.mark.parametrize("name", rows_that_would_mix())
def test_rows_that_would_mix_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_rows_that_would_mix_are_refused(name)
    critic, rows = rows_that_would_mix()[name]
    other = torch.cat((rows[:1] * -2, rows[1:]))
    assert not torch.equal(critic(other).flatten()[1:], critic(rows).flatten()[1:]), "nothing mixes here"
    monkeypatch.setattr("angioshare.privacy.backward.check_rows", lets_all_shapes_through)
    with pytest.raises((*FAILED, ValueError)):  # the convolution also stumbles over the shape
        check_rows_that_would_mix_are_refused(name)


def test_a_layer_that_makes_other_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The count of rows is a second lock, behind the check of shapes."""
    critic, rows = rows_that_would_mix()["unflatten from the end"]
    monkeypatch.setattr("angioshare.privacy.backward.check_rows", lets_all_shapes_through)
    with pytest.raises(PrivacyError, match="makes 1 rows of 4"):
        as_units(ClippedGradients(critic, 1.0), rows, cubed)


def test_hooks_for_all_modules_are_refused(critic: nn.Sequential) -> None:
    handle = nn.modules.module.register_module_forward_hook(lambda module, given, made: made)
    try:
        with pytest.raises(PrivacyError, match="hooks for all modules"):
            ClippedGradients(critic, 1.0)
    finally:
        handle.remove()


def test_a_refusal_says_which_layer_and_what_to_take() -> None:
    with pytest.raises(PrivacyError, match=r"critic\.1 is a BatchNorm2d.*GroupNorm"):
        ClippedGradients(unsafe_critics()["batch norm"], 1.0)


def test_a_layer_that_is_exchanged_later_is_refused_at_the_next_step(critic: nn.Sequential) -> None:
    clipped = ClippedGradients(critic, 1.0)
    critic[4] = nn.BatchNorm2d(6)
    with pytest.raises(PrivacyError, match="BatchNorm"):
        clipped.clipped_sum(torch.zeros(0, 2, 8, 8), [])


def test_nested_sequentials_are_welcome(rows: Callable[[int], Tensor]) -> None:
    critic = nn.Sequential(nn.Sequential(nn.Conv2d(2, 2, 8), nn.ReLU()), nn.Flatten(), nn.Linear(2, 1)).double()
    found = as_units(ClippedGradients(critic, 1.0), rows(3), cubed)
    assert distance(found, by_hand(critic, rows(3), cubed, 1 - 1e-5)) < 1e-12


@pytest.mark.parametrize(
    "frozen", [["0.weight"], ["3.bias"], ["6.weight", "4.weight"], ["4.bias", "4.weight", "0.weight"]]
)
def test_frozen_parameters_are_left_out(
    critic: nn.Sequential, rows: Callable[[int], Tensor], frozen: list[str]
) -> None:
    for name in frozen:
        critic.get_parameter(name).requires_grad_(False)
    found = as_units(ClippedGradients(critic, 0.3), rows(3), cubed)
    assert distance(found, by_hand(critic, rows(3), cubed, 0.3 * (1 - 1e-5))) < 1e-12


def test_no_rows_give_zero(critic: nn.Sequential, rows: Callable[[int], Tensor]) -> None:
    clipped = ClippedGradients(critic, 1.0)
    for found in (
        as_units(clipped, rows(0), cubed),
        clipped.clipped_sum_of_units(rows(0), torch.zeros(0, dtype=torch.int64), cubed),
    ):
        assert [g.abs().max().item() for g in found] == [0.0] * 7


def test_passes_ignore_surrounding_autocast(critic: nn.Sequential, rows: Callable[[int], Tensor]) -> None:
    clipped, x = ClippedGradients(critic.float(), 1.0), rows(3).float()
    plain = as_units(clipped, x, cubed)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        assert distance(as_units(clipped, x, cubed), plain) == 0


def test_existing_gradients_are_not_touched(critic: nn.Sequential, rows: Callable[[int], Tensor]) -> None:
    as_units(ClippedGradients(critic, 1.0), rows(3), cubed)
    assert all(parameter.grad is None for parameter in critic.parameters())


@pytest.mark.parametrize(("clip_norm", "most_rows"), [(0.0, 1), (float("nan"), 1), (float("inf"), 1), (1.0, 0)])
def test_impossible_settings_are_refused(critic: nn.Sequential, clip_norm: float, most_rows: int) -> None:
    with pytest.raises(SettingsError):
        ClippedGradients(critic, clip_norm, most_rows)


def test_losses_must_speak_of_the_rows(critic: nn.Sequential, rows: Callable[[int], Tensor]) -> None:
    with pytest.raises(SettingsError, match="5 rows"):
        ClippedGradients(critic, 1.0).clipped_sum(rows(3), [(5, cubed, 1.0)])


def test_a_critic_must_give_one_score_a_row(rows: Callable[[int], Tensor]) -> None:
    clipped = ClippedGradients(nn.Sequential(nn.Conv2d(2, 1, 3)).double(), 1.0)
    with pytest.raises(SettingsError, match="one score"):
        as_units(clipped, rows(2), cubed)
