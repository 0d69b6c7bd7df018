"""Writes augment.json: what batchgeneratorsv2 makes of a small volume, transform by transform, with the parameters that it drew.

Run with the peer's Python (nnU-Net 2.8.1, batchgeneratorsv2 0.3.6):  python make_augment.py [SAMPLES OUTPUT]

Every transform is one of nnU-Net's own pipelines (default and DA5), is drawn SAMPLES times and applied to the volume as it is.
Each record holds the parameters in this project's words. Labels are left out (None) where two scores differ by less than the
resolution of the half-precision numbers that batchgeneratorsv2 votes with, or where a sample is equally near to two voxels.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import grid_sample
from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform, MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.noise.median_filter import MedianFilterTransform
from batchgeneratorsv2.transforms.noise.sharpen import SharpeningTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation import nnUNetTrainerDA5 as da5

SHAPE = (8, 11, 10)
OUTSIDE = -1
HALF_PRECISION = 1e-3
DEGREES = np.pi / 180


def volume(shape):
    generator = np.random.default_rng(0)
    z, y, x = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    smooth = np.sin(z / 2) + np.cos(y / 3 + x / 4)
    image = (smooth + 0.3 * generator.normal(size=shape)).astype(np.float32)
    labels = np.digitize(smooth, [-0.6, 0.2, 0.9]).astype(np.int16)
    labels[:, :2, :3] = OUTSIDE
    return np.round(image, 5), labels


def undecided(labels, grid, nearest, beyond=OUTSIDE):
    """Where the two best label scores are all but equal; for the nearest voxel, where a sample is halfway between two."""
    if nearest:
        size = torch.tensor(labels.shape[::-1], dtype=torch.float64)
        position = ((grid.double() + 1) * size - 1) / 2
        return ((position - torch.floor(position) - 0.5).abs() < HALF_PRECISION).any(-1).numpy()
    values = np.union1d(np.unique(labels), [beyond])
    scores = []
    for value in values:
        indicator = torch.from_numpy((labels == value).astype(np.float64))[None, None]
        shift = 1.0 if value == beyond else 0.0
        scores.append(grid_sample(indicator - shift, grid[None].double(), align_corners=False)[0, 0] + shift)
    top = torch.stack(scores).topk(2, dim=0).values
    return (top[0] - top[1] < HALF_PRECISION).numpy()


def record(name, patch, image, labels=None, **what):
    origin = [(s - p) // 2 for s, p in zip(SHAPE, patch)]
    return {"name": name, "origin": origin, "patch": list(patch), "matrix": None, "steps": None, "nearest": False, "operations": [],
            **what, "image": numbers(image), "labels": labels}


def spatial(name, patch, dims, rotation, nearest=False, always=False, **parameters):
    """dims is what SpatialTransform sees: 2 for 2D and for dummy 2D."""
    probability = 1 if always else 0.6
    order = "nearest" if nearest else "bilinear"
    transform = SpatialTransform(
        patch[-dims:], patch_center_dist_from_border=0, random_crop=False, p_rotation=probability, rotation=(-rotation * DEGREES, rotation * DEGREES),
        p_scaling=probability, border_mode_seg="constant", padding_value_seg=OUTSIDE, mode_image=order, mode_seg=order, **parameters)
    image, labels = IMAGE, LABELS
    data = {"image": torch.from_numpy(image)[None], "segmentation": torch.from_numpy(labels)[None]}
    if dims == 2:
        data = Convert3DTo2DTransform()(**data)
    drawn = transform.get_parameters(**data)
    if drawn["affine"] is None:
        return None
    grid = drawn["grid"]
    tied = undecided(labels, grid, nearest) if dims == 3 else np.stack([undecided(s, grid, nearest) for s in labels])
    data = transform.apply(data, **drawn)
    if dims == 2:
        data = Convert2DTo3DTransform()(**data)
    matrix = np.eye(3)
    matrix[-dims:, -dims:] = drawn["affine"]
    found = [None if t else int(v) for v, t in zip(data["segmentation"].numpy().ravel(), tied.ravel())]
    made = record(name, patch, data["image"].numpy(), found, matrix=matrix.tolist(), nearest=nearest)
    if nearest:
        made["image"] = [None if t else v for v, t in zip(made["image"], tied.ravel())]
    return made


def orientation(name, transform, steps):
    """Cubes, since axes are exchanged. `steps` are read off by what happens to the coordinates of voxels."""
    side = min(SHAPE)
    corner = [(s - side) // 2 for s in SHAPE]
    cut = tuple(slice(c, c + side) for c in corner)
    coordinates = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij")).astype(np.float32)
    data = {"image": torch.from_numpy(np.concatenate([IMAGE[cut][None], coordinates])), "segmentation": torch.from_numpy(LABELS[cut][None].copy())}
    data = transform.apply(data, **transform.get_parameters(**data))
    moved = data["image"].numpy()[1:]
    for axis in range(3):
        along = [0, 0, 0]
        along[axis] = 1
        change = moved[:, along[0], along[1], along[2]] - moved[:, 0, 0, 0]
        source = int(np.argmax(np.abs(change)))
        steps.append([source, int(change[source])])
    return record(name, (side,) * 3, data["image"].numpy()[0], data["segmentation"].numpy().ravel().tolist(), steps=steps)


def intensity(name, transform, ours, slices=False):
    """`ours` says in this project's words what was drawn; None when the channel was left as it is."""
    image = torch.from_numpy(IMAGE[3:4] if slices else IMAGE)
    data = {"image": (image if slices else image[None]).clone()}
    drawn = transform.get_parameters(**data)
    operation = ours(drawn)
    if operation is None:
        return None
    made = transform._apply_to_image(data["image"].clone(), **drawn).numpy()
    what = record(name, (1, *SHAPE[1:]) if slices else SHAPE, made, operations=[operation])
    what["origin"][0] = 3 if slices else 0
    return what


def numbers(array):
    return [float(f"{v:.6g}") for v in np.asarray(array, np.float64).ravel()]


def scalar(tensor):
    return float(tensor[0])


def chosen(drawn):
    return len(drawn["apply_to_channel"]) > 0


class Bumps:
    """Remembers where the peer puts its kernels, which it does not say."""

    def __init__(self, transform):
        self.transform, self.centre, self.width = transform, [], []
        location, scale = transform.loc, transform.scale
        transform.loc = lambda shape, axis: self.note(self.centre, np.random.uniform(*location), shape[axis])
        transform.scale = lambda shape, axis: self.note(self.width, scale(shape, axis), 1)

    def note(self, where, value, factor):
        where.append(float(value * factor))
        return value

    def take(self):
        missing = 3 - len(self.centre)
        bump = {"centre": [0.0] * missing + self.centre, "width": [1.0] * missing + self.width}
        self.centre, self.width = [], []
        return bump


def gradient(bumps, drawn):
    kernel = drawn["kernels"][0]
    if kernel is None:
        return None
    return {"brightness_gradient": {"bump": bumps.take(), "strength": float(kernel.flat[np.abs(kernel).argmax()])}}


def local_gamma(bumps, drawn):
    return None if drawn["kernels"][0] is None else {"local_gamma": {"bump": bumps.take(), "exponent": float(drawn["gammas"][0])}}


def rectangles(drawn, dims):
    full = [([0] * (3 - dims) + list(map(int, l)), [1] * (3 - dims) + list(map(int, u))) for l, u in drawn["rectangles"][0]]
    return {"rectangles": {"boxes": [{"lower": l, "upper": u} for l, u in full]}} if drawn["apply_channel"][0] else None


def intensities():
    """Name, transform, what was drawn in our words."""
    for dims in (3, 2):
        suffix = "" if dims == 3 else ", 2D"
        size = SHAPE[-dims:]
        yield "blur" + suffix, GaussianBlurTransform((0.5, 1.0), False, False, 1), lambda d: {"blur": {"sigmas": [1.0] * (3 - dims) + d["sigmas"][0]}}, dims
        yield "wide blur" + suffix, GaussianBlurTransform((0.3, 1.5), False, True, 1), lambda d: {"blur": {"sigmas": [1.0] * (3 - dims) + d["sigmas"][0]}}, dims
        yield "brightness" + suffix, MultiplicativeBrightnessTransform(BGContrast((0.75, 1.25)), False), lambda d: {"scale": {"factor": scalar(d["multipliers"])}}, dims
        yield "brightness shift" + suffix, BrightnessAdditiveTransform(0, 0.5, False), lambda d: {"shift": {"by": scalar(d["shift"])}}, dims
        yield "contrast" + suffix, ContrastTransform(BGContrast((0.75, 1.25)), True, False), lambda d: {"contrast": {"factor": scalar(d["multipliers"]), "keep_range": True}}, dims
        yield "free contrast" + suffix, ContrastTransform(BGContrast((0.5, 2)), False, False), lambda d: {"contrast": {"factor": scalar(d["multipliers"]), "keep_range": False}}, dims
        yield "low resolution" + suffix, SimulateLowResolutionTransform((0.25, 1), False, True, None), low_resolution, dims
        if dims == 3:
            yield "low resolution in the plane", SimulateLowResolutionTransform((0.5, 1), False, True, (0,)), low_resolution, dims
        for inverted in (0, 1):
            yield f"gamma, inverted {inverted}" + suffix, GammaTransform(BGContrast((0.7, 1.5)), inverted, False, 1, 1), \
                lambda d, i=inverted: {"gamma": {"exponent": scalar(d["gamma"]), "inverted": bool(i)}}, dims
        yield "median" + suffix, MedianFilterTransform((2, 8)), lambda d: {"median": {"size": d["filter_sizes"][0]}}, dims
        yield "rectangles" + suffix, BlankRectangleTransform([[max(1, p // 10), p // 3] for p in size], torch.mean, (1, 5)), lambda d: rectangles(d, dims), dims
        bumps = Bumps(BrightnessGradientAdditiveTransform(da5._brightnessadditive_localgamma_transform_scale, (-0.5, 1.5), da5._brightness_gradient_additive_max_strength, False, False))
        yield "brightness gradient" + suffix, bumps.transform, lambda d, b=bumps: gradient(b, d), dims
        bumps = Bumps(LocalGammaTransform(da5._brightnessadditive_localgamma_transform_scale, (-0.5, 1.5), lambda *_: da5._local_gamma_gamma(), False))
        yield "local gamma" + suffix, bumps.transform, lambda d, b=bumps: local_gamma(b, d), dims
        yield "sharpen" + suffix, SharpeningTransform((0.1, 1)), lambda d: {"sharpen": {"strength": d["strengths"][0]}}, dims


def low_resolution(drawn):
    scales = [float(s) for s in np.ravel(drawn["scales"][0])]
    return {"low_resolution": {"scales": [1.0] * (3 - len(scales)) + scales}}


def all_records(samples):
    for _ in range(samples):
        yield spatial("turned and scaled", (6, 9, 8), 3, 30, scaling=(0.7, 1.4), p_synchronize_scaling_across_axes=1)
        yield spatial("turned and scaled, over the border", (8, 11, 12), 3, 30, scaling=(0.7, 1.4), p_synchronize_scaling_across_axes=1)
        yield spatial("turned freely, each axis scaled", (6, 9, 8), 3, 180, always=True, scaling=(0.7, 1.43), p_rot_per_axis=0.5)
        yield spatial("slices turned in their plane", (8, 9, 8), 2, 180, always=True, scaling=(0.7, 1.4), p_synchronize_scaling_across_axes=1)
        yield spatial("turned, nearest voxel", (6, 9, 18), 3, 30, nearest=True, always=True, scaling=(0.7, 1.43))
        yield orientation("mirror", MirrorTransform((0, 1, 2)), [])
        yield orientation("right angles", Rot90Transform(1, (1, 2, 3), {0, 1, 2}), [])
        yield orientation("exchanged axes", TransposeAxesTransform({0, 1, 2}), [])
        for name, transform, ours, dims in intensities():
            yield intensity(name, transform, ours, slices=dims == 2)


def targets():
    """What is made of a label map at the end of the pipeline: regions with the ignore label last, and coarser levels."""
    data = {"image": torch.from_numpy(IMAGE)[None], "segmentation": torch.from_numpy(LABELS.copy())[None]}
    scales = [[1, 1, 1], [1, 0.5, 0.5], [0.5, 0.25, 0.25]]
    data = RemoveLabelTansform(-1, 0)(**data)
    labels = DownsampleSegForDSTransform(scales)(**{key: value.clone() for key, value in data.items()})["segmentation"]
    regions = ConvertSegmentationToRegionsTransform([(1, 2), (2,), 3], 0)(**data)
    regions = DownsampleSegForDSTransform(scales)(**regions)["segmentation"]
    flat = lambda levels: [level.numpy().astype(int).ravel().tolist() for level in levels]
    return {"shapes": [list(level.shape[1:]) for level in labels], "labels": flat(labels), "regions": flat(regions)}


if __name__ == "__main__":
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    output = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_name("augment.json")
    torch.manual_seed(0)
    np.random.seed(0)
    torch.set_num_threads(1)
    IMAGE, LABELS = volume(SHAPE)
    lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in all_records(samples) if record is not None)
    source = json.dumps({"shape": SHAPE, "image": numbers(IMAGE), "labels": LABELS.ravel().tolist()}, separators=(",", ":"))
    output.write_text(f'{{"source":{source},\n"targets":{json.dumps(targets(), separators=(",", ":"))},\n"records":[\n{lines}\n]}}\n')
