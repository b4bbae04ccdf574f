from dataclasses import replace

import numpy as np
import pytest

from angioshare.errors import DataError
from angioshare.report.content import ErrorMap, Samples


def test_two_sources_of_one_name_are_refused(content):
    with pytest.raises(DataError, match="different names"):
        replace(content, sources=[*content.sources, content.sources[0]])


def test_samples_of_an_unknown_source_are_refused(content):
    with pytest.raises(DataError, match="stranger"):
        replace(content, samples=[replace(content.samples[0], source="stranger")])


def test_image_and_label_of_samples_must_share_a_shape():
    with pytest.raises(DataError, match="both be"):
        Samples(source="a", title="a", image=np.zeros((2, 4, 4)), label=np.zeros((2, 4, 5)), provenance="public")


def test_volumes_of_an_error_map_must_share_a_shape():
    a, b = np.zeros((3, 3, 3)), np.zeros((3, 3, 4))
    with pytest.raises(DataError, match="one shape"):
        ErrorMap(source="a", site="b", subject="c", image=a, label=a, prediction=b, spacing_mm=(1, 1, 1))


def test_an_unknown_source_is_named(content):
    with pytest.raises(DataError, match="nobody"):
        content.source("nobody")
