"""Writes augment.json: what batchgeneratorsv2 makes of a small volume with fixed parameters.

Run with the peer's Python (nnU-Net 2.8.1, batchgeneratorsv2 0.3.6):  python make_augment.py

Each record holds the pipeline as this project writes it, with ranges of no width and probabilities of one, so that
augment_golden.rs runs it through the public function. Labels are left out (None) where two scores differ by less than the
resolution of the half-precision numbers that batchgeneratorsv2 votes with.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import grid_sample
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform

SHAPE = (8, 11, 10)
OUTSIDE = -1
HALF_PRECISION = 1e-3


def volume():
    generator = np.random.default_rng(0)
    z, y, x = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    smooth = np.sin(z / 2) + np.cos(y / 3 + x / 4)
    image = (smooth + 0.3 * generator.normal(size=SHAPE)).astype(np.float32)
    labels = np.digitize(smooth, [-0.6, 0.2, 0.9]).astype(np.int16)
    labels[:, :2, :3] = OUTSIDE
    return np.round(image, 5), labels


def undecided(labels, grid):
    """Where the two best label scores, in full precision, are all but equal."""
    values = np.union1d(np.unique(labels), [OUTSIDE])
    scores = []
    for value in values:
        indicator = torch.from_numpy((labels == value).astype(np.float64))[None, None]
        shift = 1.0 if value == OUTSIDE else 0.0
        scores.append(grid_sample(indicator - shift, grid[None].double(), align_corners=False)[0, 0] + shift)
    top = torch.stack(scores).topk(2, dim=0).values
    return (top[0] - top[1] < HALF_PRECISION).numpy()


def spatial(name, image, labels, patch, degrees, scale, dims, in_plane):
    """dims is what SpatialTransform sees: 2 for 2D and for dummy 2D."""
    transform = SpatialTransform(
        patch[-dims:], patch_center_dist_from_border=0, random_crop=False, p_rotation=1 if degrees else 0,
        rotation=(math.radians(degrees),) * 2, p_scaling=1, scaling=(scale, scale), p_synchronize_scaling_across_axes=1,
        border_mode_seg="constant", padding_value_seg=OUTSIDE)
    data = {"image": torch.from_numpy(image)[None], "segmentation": torch.from_numpy(labels)[None]}
    if dims == 2:
        data = Convert3DTo2DTransform()(**data)
    parameters = transform.get_parameters(**data)
    tied = (undecided(labels, parameters["grid"]) if dims == 3 else
            np.stack([undecided(s, parameters["grid"]) for s in labels]))
    data = transform.apply(data, **parameters)
    if dims == 2:
        data = Convert2DTo3DTransform()(**data)
    found = [None if t else int(v) for v, t in zip(data["segmentation"].numpy().ravel(), tied.ravel())]
    return {
        "name": name, "origin": [(s - p) // 2 for s, p in zip(SHAPE, patch)], "patch": list(patch),
        "augmentation": {"spatial": {
            "rotation_probability": 1.0 if degrees else 0.0, "rotation_degrees": [degrees, degrees],
            "scaling_probability": 1.0, "scaling": [scale, scale], "in_plane": in_plane}, "intensity": [], "mirror": None},
        "image": numbers(data["image"].numpy()), "labels": found,
    }


def intensity(name, image, transform, ours):
    out = transform(image=torch.from_numpy(image.copy())[None])["image"].numpy()
    return {
        "name": name, "origin": [0, 0, 0], "patch": list(SHAPE),
        "augmentation": {"spatial": None, "intensity": [{"probability": 1.0, "transform": ours}], "mirror": None},
        "image": numbers(out), "labels": None,
    }


def numbers(array):
    return [round(float(v), 6) for v in array.ravel()]


image, labels = volume()
records = [
    spatial("turned and shrunk", image, labels, (6, 9, 8), 20.0, 1.25, 3, False),
    spatial("turned and enlarged, over the border", image, labels, (8, 11, 12), -27.0, 0.8, 3, False),
    spatial("scaled only", image, labels, (6, 11, 10), 0.0, 1.3, 3, False),
    spatial("slices turned in their plane", image, labels, (8, 9, 8), 110.0, 0.9, 2, True),
    intensity("blur, three taps", image, GaussianBlurTransform(0.55), {"blur": {"sigma": [0.55] * 2, "channel_probability": 1.0}}),
    intensity("blur, seven taps", image, GaussianBlurTransform(1.0), {"blur": {"sigma": [1.0] * 2, "channel_probability": 1.0}}),
    intensity("brightness", image, MultiplicativeBrightnessTransform(0.8, False), {"brightness": {"factor": [0.8] * 2}}),
    intensity("contrast, more", image, ContrastTransform(1.2, True, False), {"contrast": {"factor": [1.2] * 2}}),
    intensity("contrast, less", image, ContrastTransform(0.8, True, False), {"contrast": {"factor": [0.8] * 2}}),
    intensity("low resolution", image, SimulateLowResolutionTransform(0.55, False, True, None),
              {"low_resolution": {"scale": [0.55] * 2, "channel_probability": 1.0, "in_plane": False}}),
    intensity("low resolution in the plane", image, SimulateLowResolutionTransform(0.75, False, True, (0,)),
              {"low_resolution": {"scale": [0.75] * 2, "channel_probability": 1.0, "in_plane": True}}),
    intensity("gamma", image, GammaTransform(1.4, 0, False, 1, 1), {"gamma": {"exponent": [1.4] * 2, "inverted": False}}),
    intensity("gamma of the negative", image, GammaTransform(0.75, 1, False, 1, 1),
              {"gamma": {"exponent": [0.75] * 2, "inverted": True}}),
]
lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in records)
source = json.dumps({"shape": SHAPE, "image": numbers(image), "labels": labels.ravel().tolist()}, separators=(",", ":"))
Path(__file__).with_name("augment.json").write_text(f'{{"source":{source},\n"records":[\n{lines}\n]}}\n')
