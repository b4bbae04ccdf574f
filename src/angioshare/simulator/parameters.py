"""All parameters of the simulator as one frozen tree, and the same tree as a vector with bounds.

Every field carries a unit, a range and a published source (`describe`). Calibration works on the flat form: dotted
names such as `"tree.mca_radius_mm"`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import annotated_types
import numpy as np
from pydantic import Field
from pydantic.fields import FieldInfo

from angioshare.errors import SettingsError
from angioshare.settings import Settings
from angioshare.simulator.parameters_anatomy import AnatomyParameters, TreeParameters, VariantParameters
from angioshare.simulator.parameters_image import (
    AcquisitionParameters,
    BrightParameters,
    ContrastParameters,
    ReaderParameters,
    VariationParameters,
)
from angioshare.types import FloatArray


class SimulatorParameters(Settings):
    """What a simulated site is: its people, its scanner and its readers.

    Example:
        >>> SimulatorParameters().tree.murray_exponent
        3.0
    """

    anatomy: AnatomyParameters = Field(AnatomyParameters(), description="Shape of the brain and of its tissues.")
    tree: TreeParameters = Field(TreeParameters(), description="Radii, branching and winding of the arteries.")
    variants: VariantParameters = Field(VariantParameters(), description="How often people deviate from the textbook.")
    contrast: ContrastParameters = Field(ContrastParameters(), description="Sequence, relaxation and blood flow.")
    bright: BrightParameters = Field(BrightParameters(), description="What is bright and no artery.")
    acquisition: AcquisitionParameters = Field(AcquisitionParameters(), description="Grid, slabs, coil and noise.")
    reader: ReaderParameters = Field(ReaderParameters(), description="How the readers draw vessels.")
    variation: VariationParameters = Field(VariationParameters(), description="How far single people stray.")


@dataclass(frozen=True, kw_only=True)
class ParameterInfo:
    """What is known about one parameter.

    Attributes:
        low: Smallest value allowed.
        high: Largest value allowed.
        integer: Whether only whole numbers are allowed.
        unit: Unit, `"1"` for a pure number.
        source: Author and year.
        says: One sentence.
    """

    low: float
    high: float
    integer: bool
    unit: str
    source: str
    says: str


def describe() -> dict[str, ParameterInfo]:
    """List every parameter by its dotted name, in a fixed order.

    Returns:
        Dotted name -> bounds, unit, source, sentence.

    Example:
        >>> describe()["acquisition.voxel_k_mm"].unit
        'mm'
    """
    return {
        f"{group}.{name}": _info(field)
        for group, member in SimulatorParameters.model_fields.items()
        for name, field in type(member.default).model_fields.items()
    }


def flatten(parameters: SimulatorParameters) -> dict[str, float]:
    """Return dotted name -> value for every parameter, in the order of `describe`.

    Example:
        >>> flatten(SimulatorParameters())["tree.mca_radius_mm"]
        1.35
    """
    return {
        f"{group}.{name}": float(value)
        for group, members in parameters.model_dump().items()
        for name, value in members.items()
    }


def unflatten(values: Mapping[str, float], base: SimulatorParameters | None = None) -> SimulatorParameters:
    """Return `base` with some parameters exchanged.

    Args:
        values: Dotted name -> value; integers are rounded.
        base: What the other parameters are taken from; the default parameters if None.

    Returns:
        Checked parameters.

    Raises:
        SettingsError: A name does not exist, or a value lies outside its range.

    Example:
        >>> unflatten({"reader.thickness": 1.4}).reader.thickness
        1.4
    """
    known = describe()
    tree = (base or SimulatorParameters()).model_dump()
    for name, value in values.items():
        info = known.get(name)
        if info is None:
            raise SettingsError(f"simulator parameter {name!r} does not exist; `describe()` lists the names")
        if not info.low <= value <= info.high:
            raise SettingsError(f"{name}={value} must lie in [{info.low}, {info.high}] {info.unit}; clip it first")
        group, member = name.split(".")
        tree[group][member] = round(value) if info.integer else float(value)
    return SimulatorParameters.model_validate(tree)


def bounds(names: Sequence[str]) -> FloatArray:
    """Return the bounds (n, 2) of the named parameters: lowest, highest.

    Example:
        >>> bounds(["variants.fetal_pca"]).tolist()
        [[0.0, 1.0]]
    """
    known = describe()
    return np.array([[known[name].low, known[name].high] for name in names], dtype=np.float64)


def to_vector(parameters: SimulatorParameters, names: Sequence[str]) -> FloatArray:
    """Return the named parameters as a vector (n,)."""
    flat = flatten(parameters)
    return np.array([flat[name] for name in names], dtype=np.float64)


def from_vector(
    vector: FloatArray, names: Sequence[str], base: SimulatorParameters | None = None
) -> SimulatorParameters:
    """Return `base` with the named parameters taken from a vector (n,), clipped to their ranges.

    Example:
        >>> from_vector(np.array([99.0]), ["reader.thickness"]).reader.thickness
        2.5
    """
    limits = bounds(names)
    clipped = np.clip(vector, limits[:, 0], limits[:, 1])
    return unflatten(dict(zip(names, clipped.tolist(), strict=True)), base)


def _info(field: FieldInfo) -> ParameterInfo:
    low = next(m.ge for m in field.metadata if isinstance(m, annotated_types.Ge))
    high = next(m.le for m in field.metadata if isinstance(m, annotated_types.Le))
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return ParameterInfo(
        low=float(str(low)),
        high=float(str(high)),
        integer=field.annotation is int,
        unit=str(extra["unit"]),
        source=str(extra["source"]),
        says=field.description or "",
    )
