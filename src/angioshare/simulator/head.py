"""One person's head as functions of space: the brain's surface, folds, ventricles, fissures.

Standard space is millimetres, RAS, with the origin between the ends of the two carotid arteries; it is MNI space moved
by (0, -3, +15). Shapes are ellipsoids, so what is meant is the look of a section, not a measured brain.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from angioshare.simulator.fields import SmoothField, smooth_field
from angioshare.simulator.parameters import SimulatorParameters
from angioshare.types import FloatArray

LOW_MM = np.array([-80.0, -125.0, -75.0])
HIGH_MM = np.array([80.0, 85.0, 105.0])
_CENTRE = np.array([0.0, -20.0, 20.0])
_STEM = np.array([0.0, -26.0, -8.0])
_STEM_AXES = np.array([17.0, 15.0, 26.0])
_LEAVES = 18

# Lateral ventricle of the right side, front horn to temporal horn: x, y, z, half width (Rhoton 2002).
_VENTRICLE = np.array(
    [
        [6, 24, 20, 3.0],
        [9, 12, 30, 4.5],
        [10, -8, 35, 4.5],
        [14, -26, 34, 5.0],
        [23, -42, 26, 6.0],
        [27, -40, 12, 4.0],
        [30, -24, -4, 2.5],
        [30, -12, -10, 2.0],
    ],
    dtype=np.float64,
)
_OCCIPITAL_HORN = np.array([[23, -42, 26, 5.0], [23, -62, 20, 3.0], [20, -74, 17, 1.5]], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Head:
    """Random fields and sizes that make one brain differ from the next."""

    folds: SmoothField
    outline: SmoothField
    midline: SmoothField
    ventricle_scale: float
    sulcus_depth_mm: float
    sulcus_width_mm: float

    def depth(self, points: FloatArray) -> FloatArray:
        """Return the depth in mm (n,) below the smooth hull of the brain at points (n, 3); negative outside."""
        cerebrum = _inside(points, (0, -20, 30), (68, 87, 62))
        cerebrum = np.minimum(cerebrum, -_inside(points, (0, 30, -32), (32, 34, 25)))
        side = np.column_stack((np.abs(points[:, 0]), points[:, 1:]))
        temporal = _inside(side, (43, -12, -14), (24, 40, 20))
        hull = _join(cerebrum, temporal, 8.0)
        hull = _join(hull, self.cerebellum_depth(points), 4.0)
        hull = _join(hull, _inside(points, (0, -24, -30), (16, 14, 45)), 4.0)
        return hull + 1.8 * self.outline.at(points)

    def cerebellum_depth(self, points: FloatArray) -> FloatArray:
        """Return the depth in mm (n,) below the surface of the cerebellum."""
        return _inside(points, (0, -66, -28), (52, 33, 23))

    def fold(self, points: FloatArray) -> FloatArray:
        """Return a smooth function (n,) whose zero set are the middles of the sulci.

        It changes little along the way inwards, so sulci stand upright on the surface and wander as they go down. In
        the cerebellum it is a fan of thin leaves about the fourth ventricle.
        """
        away = points - _CENTRE
        reach = np.linalg.norm(away / np.array([66.0, 85.0, 66.0]), axis=1, keepdims=True)
        outward = np.clip(reach, 0.25, 1.5) ** -0.75
        value = self.folds.at(_CENTRE + away * outward)
        hind = self.cerebellum_depth(points) > 0
        y, z = points[hind, 1] + 44, points[hind, 2] + 22
        fan = np.arctan2(z, -y)
        value[hind] = np.sin(_LEAVES * fan + 0.8 * value[hind])
        return np.asarray(value)

    def sulcus_distance(self, points: FloatArray) -> FloatArray:
        """Return the distance in mm (n,) to the middle of the nearest sulcus."""
        value = self.fold(points)
        slope = np.zeros(len(points))
        for axis in range(3):
            step = np.zeros(3)
            step[axis] = 0.8
            slope += ((self.fold(points + step) - value) / 0.8) ** 2
        return zero_distance(value, slope)

    def fluid(self, points: FloatArray, depth: FloatArray, sulcus: FloatArray) -> FloatArray:
        """Return the signed distance in mm (n,) to spinal fluid outside the ventricles; negative in the fluid.

        Args:
            points: Places (n, 3).
            depth: Their depth (n,).
            sulcus: Their distance (n,) to a sulcus.
        """
        reach = np.where(self.cerebellum_depth(points) > 0, 0.5 * self.sulcus_depth_mm, self.sulcus_depth_mm)
        shallow = np.clip(1 - depth / reach, 0, 1)
        sulci = sulcus - 0.5 * self.sulcus_width_mm * (0.4 + 0.6 * shallow)
        sulci = np.where(depth < reach, sulci, 99.0)
        return np.asarray(np.minimum.reduce((sulci, depth - 1.5, self._fissures(points))))

    def ventricles(self, points: FloatArray) -> FloatArray:
        """Return the signed distance in mm (n,) to the ventricles; negative inside."""
        side = np.column_stack((np.abs(points[:, 0]), points[:, 1:]))
        lateral = np.minimum(
            _tube(side, _VENTRICLE, self.ventricle_scale), _tube(side, _OCCIPITAL_HORN, self.ventricle_scale)
        )
        third = -_inside(points, (0, -10, 14), (1.6 * self.ventricle_scale + 0.8, 14, 9))
        fourth = -_inside(points, (0, -45, -22), (7, 5, 11))
        return np.asarray(np.minimum.reduce((lateral, third, fourth)))

    def deep_grey(self, points: FloatArray) -> FloatArray:
        """Return the signed distance in mm (n,) to the basal ganglia and the thalamus; negative inside."""
        side = np.column_stack((np.abs(points[:, 0]), points[:, 1:]))
        lentiform = _inside(side, (24, 0, 15), (7, 17, 11))
        thalamus = _inside(side, (11, -20, 22), (8, 14, 9))
        caudate = _inside(side, (13, 14, 25), (4, 12, 8))
        return np.asarray(-np.maximum.reduce((lentiform, thalamus, caudate)))

    def medial(self, points: FloatArray) -> FloatArray:
        """Return the distance in mm (n,) to the cleft between the hemispheres; large where there is none."""
        across = np.abs(points[:, 0] - 1.0 * self.midline.at(points))
        callosum = np.sqrt(((points[:, 1] + 7) / 37) ** 2 + ((points[:, 2] - 22) / 21) ** 2)
        brainstem = np.sqrt(np.sum(((points - _STEM) / (_STEM_AXES + 4)) ** 2, axis=1))
        open_here = (callosum > 1) & (brainstem > 1) & (points[:, 2] > -12) & (self.cerebellum_depth(points) < 0)
        return np.where(open_here, across, 99.0)

    def sylvian(self, points: FloatArray) -> FloatArray:
        """Return the distance in mm (n,) to the middle of the Sylvian fissure and the cleft over the insula."""
        x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
        along = (15 - y) * 0.87 + (z - 2) * 0.5
        off = (y - 15) * 0.5 + (z - 2) * 0.87
        wander = 2.0 * self.midline.at(points[:, [1, 2, 0]])
        gate = np.where((along > -3) & (along < 55) & (x > 36), 0.0, 99.0)
        fissure = np.abs(off + wander) + gate
        insula = np.hypot(x - 38 - 1.2 * wander - off**2 / 60, np.maximum(np.abs(off) - 10, 0))
        insula = insula + np.where((along > -3) & (along < 40), 0.0, 99.0)
        return np.asarray(np.minimum(fissure, insula))

    def _fissures(self, points: FloatArray) -> FloatArray:
        tentorium = np.abs(self.cerebellum_depth(points)) - 0.6
        tentorium = np.where(points[:, 1] < -38, tentorium, 99.0)
        cistern = -_inside(points, (0, -3, -4), (15, 11, 5))
        stem = _inside(points, tuple(_STEM), tuple(_STEM_AXES))
        near = (np.abs(stem) < 6) | (cistern < 3)
        rough = 1.8 * self.midline.at(points[near] * 2.0)
        cistern[near] += rough
        stem[near] += rough
        ambient = np.abs(stem) - 1.2
        # Open at the sides and fading upwards; in front the stem's own cistern takes over.
        ambient = ambient + np.clip(points[:, 1] + 24, 0, 20) * 0.3 + np.clip(points[:, 2] + 1, 0, 20) * 0.4
        ambient = ambient + np.clip(9 - np.abs(points[:, 0]), 0, 9) * 0.15
        clefts = (self.medial(points) - 1.1, self.sylvian(points) - 1.3)
        return np.asarray(np.minimum.reduce((tentorium, cistern, ambient, *clefts)))


def draw_head(parameters: SimulatorParameters, rng: np.random.Generator) -> Head:
    """Draw one person's brain.

    Args:
        parameters: The person's own parameters.
        rng: Stream of the head.

    Returns:
        The brain as functions of space.
    """
    anatomy = parameters.anatomy
    return Head(
        folds=smooth_field(rng, 0.55 * anatomy.fold_wavelength_mm, LOW_MM, HIGH_MM, band=True),
        outline=smooth_field(rng, 22.0, LOW_MM, HIGH_MM),
        midline=smooth_field(rng, 18.0, LOW_MM, HIGH_MM),
        ventricle_scale=anatomy.ventricle_scale,
        sulcus_depth_mm=anatomy.sulcus_depth_mm,
        sulcus_width_mm=anatomy.sulcus_width_mm,
    )


def zero_distance(value: FloatArray, squared_slope: FloatArray) -> FloatArray:
    """Distance to the zero set of a field by its value and squared slope, tamed where the slope vanishes."""
    return np.asarray(np.abs(value) / np.sqrt(squared_slope + 0.004))


def _inside(points: FloatArray, centre: tuple[float, ...], axes: tuple[float, ...]) -> FloatArray:
    """Approximate depth (n,) below the surface of an ellipsoid; negative outside."""
    scaled = (points - np.asarray(centre)) / np.asarray(axes)
    reach = np.sqrt(np.einsum("nd,nd->n", scaled, scaled)) + 1e-6
    scaled /= np.asarray(axes)
    return np.asarray(reach * (1 - reach) / (np.sqrt(np.einsum("nd,nd->n", scaled, scaled)) + 1e-9))


def _join(a: FloatArray, b: FloatArray, width: float) -> FloatArray:
    """Union of two depths with a rounded seam."""
    overlap = np.maximum(width - np.abs(a - b), 0) / width
    return np.asarray(np.maximum(a, b) + overlap**2 * width / 4)


def _tube(points: FloatArray, course: FloatArray, scale: float) -> FloatArray:
    """Signed distance (n,) to a bent tube given as rows of x, y, z, radius."""
    best = np.full(len(points), 99.0)
    for start, stop in pairwise(course):
        along = stop[:3] - start[:3]
        share = np.clip((points - start[:3]) @ along / (along @ along), 0, 1)
        offset = points - start[:3] - share[:, None] * along
        radius = scale * (start[3] + share * (stop[3] - start[3]))
        best = np.minimum(best, np.sqrt(np.einsum("nd,nd->n", offset, offset)) - radius)
    return best
