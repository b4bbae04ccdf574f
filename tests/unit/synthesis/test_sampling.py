import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from angioshare.synthesis.sampling import TrainedGenerator


class Faded(nn.Module):
    """Image and label are the first two of z, at a scale that is its only weight."""

    def __init__(self, scale=0.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, z):
        return (z[:, :2] * self.scale).tanh().expand(-1, -1, 4, 4) * torch.linspace(0.1, 1, 16).reshape(4, 4)


def labels(folder, scale, *, relative, threshold=0.3, background=0.0):
    path = folder / "generator.safetensors"
    save_file({"scale": torch.tensor(scale)}, path)
    generator = TrainedGenerator(Faded(), path, 2, threshold, "public", relative=relative, background=background)
    return np.asarray(generator.sample(300, seed=5).label)


def test_a_relative_threshold_does_not_see_how_far_a_generator_has_faded(tmp_path):
    faint, fainter = (labels(tmp_path, scale, relative=True) for scale in (1e-2, 1e-3))
    assert 0.05 < faint.mean() < 0.5
    assert np.mean(faint != fainter) < 1e-3


def test_an_absolute_threshold_does(tmp_path):
    assert labels(tmp_path, 1.0, relative=False).any()
    assert not labels(tmp_path, 1e-2, relative=False).any()


@pytest.mark.parametrize("threshold", [0.2, 0.6])
def test_the_relative_threshold_is_a_share_of_the_brightest_labels(tmp_path, threshold):
    made = labels(tmp_path, 1e-3, relative=True, threshold=threshold)
    many = Faded(1e-3)(torch.randn(4096, 2, 1, 1, generator=torch.Generator().manual_seed(0)))[:, 1].detach().numpy()
    assert abs(made.mean() - np.mean(many >= threshold * np.quantile(many, 0.999))) < 0.06


def test_where_no_label_is_positive_there_is_no_vessel(tmp_path):
    assert not labels(tmp_path, 0.0, relative=True).any()


def test_a_threshold_is_measured_from_the_background_that_the_labels_had_in_training(tmp_path):
    whole = labels(tmp_path, 1.0, relative=False, threshold=0.6)
    halved = labels(tmp_path, 1.0, relative=False, threshold=0.8, background=-1.0)
    assert whole.any()
    assert np.array_equal(whole, halved)  # both are channel 1 >= 0.6
    assert labels(tmp_path, 1e-3, relative=False, threshold=0.49, background=-1.0).all()
