"""Writes draws.json: how nnU-Net's own augmentation pipelines draw their random parameters.

Run with the peer's Python (nnU-Net 2.8.1, batchgeneratorsv2 0.3.6):  OMP_NUM_THREADS=1 python make_draws.py  (ten minutes)

The pipelines are those of nnUNetTrainer and nnUNetTrainerDA5, for a patch of one channel. Their gates and get_parameters are
called as they are; pixels are never touched. Per pipeline:
  rates      the share of samples in which a transform fires (`blur`); once it fires, that the channel is chosen
             (`blur.channel`), that all axes draw the same (`blur.same`), that an angle is exactly zero, that an axis flips
  shares     of each value of a parameter with few values; axes are spatial, axis i of a transposed patch is axis order[i]
  quantiles  of the values drawn for a chosen channel, at QUANTILES equal steps from the smallest to the largest; angles in
             degrees, zeros left out; gradient.scale and local_gamma.scale are natural logarithms of voxels, loc is in extents,
             rectangles.position is the lower bound over the largest possible one
"""

import json
import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch
from batchgeneratorsv2.helpers.scalar_type import sample_scalar
from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform, MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.noise.median_filter import MedianFilterTransform
from batchgeneratorsv2.transforms.noise.sharpen import SharpeningTransform
from batchgeneratorsv2.transforms.spatial import spatial
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.random import OneOfTransform, RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import nnUNetTrainerDA5

SAMPLES = 200_000  # of each gate, and of each transform that fires
SLOW_SAMPLES = 60_000  # of those that compute a kernel as they draw
QUANTILES = 201

SITUATIONS = [  # the name, the patch, degrees, mirror axes, dummy 2D
    ("default-3d", nnUNetTrainer, (16, 16, 16), 30.0, (0, 1, 2), False),
    ("default-dummy2d", nnUNetTrainer, (4, 16, 16), 180.0, (0, 1, 2), True),
    ("default-2d", nnUNetTrainer, (16, 16), 180.0, (0, 1), False),
    ("da5-3d", nnUNetTrainerDA5, (24, 24, 24), 30.0, (0, 1, 2), False),
    ("da5-dummy2d", nnUNetTrainerDA5, (6, 24, 24), 180.0, (0, 1, 2), True),
    ("da5-2d", nnUNetTrainerDA5, (24, 24), 180.0, (0, 1), False),
]


class Record:
    """Everything drawn by one pipeline."""

    def __init__(self):
        self.rates, self.counts, self.values = {}, defaultdict(Counter), defaultdict(list)

    def flags(self, name, flags):
        self.rates[name] = sum(flags) / len(flags)


class Counted:
    """Stands in for a transform behind a gate and counts how often it is called."""

    def __init__(self):
        self.calls = 0

    def __call__(self, **data):
        self.calls += 1
        return data


def firing(step, data):
    """The transforms behind the gates of a step, each with the share of samples in which it fires."""
    gates = step.list_of_transforms if isinstance(step, OneOfTransform) else [step]
    transforms = [gate.transform for gate in gates]
    for gate in gates:
        gate.transform = Counted()
    for _ in range(SAMPLES):
        step(**data)
    rates = [gate.transform.calls / SAMPLES for gate in gates]
    for gate, transform in zip(gates, transforms):
        gate.transform = transform
    return list(zip(transforms, rates))


def listen(transform, member):
    """A list to which every scalar drawn from a member is added."""
    scalar, heard = getattr(transform, member), []

    def draw(*args, **kwargs):
        heard.append(sample_scalar(scalar, *args, **kwargs))
        return heard[-1]

    setattr(transform, member, draw)
    return heard


def draw_spatial(transform, data, record):
    """The angles and factors are read where they become a matrix: get_parameters doesn't return them."""
    rotation, scaling, affine = listen(transform, "rotation"), listen(transform, "scaling"), []
    makers = {name: getattr(spatial, name) for name in ("create_affine_matrix_2d", "create_affine_matrix_3d")}
    for name, make in makers.items():
        setattr(spatial, name, lambda angles, factors, make=make: affine.append((angles, factors)) or make(angles, factors))
    rotated, scaled, same, zeros = [], [], [], defaultdict(list)
    for _ in range(SAMPLES):
        transform.get_parameters(**data)
        rotated.append(bool(rotation))
        scaled.append(bool(scaling))
        if affine:
            angles, factors = affine[0]
            if rotation:
                for axis, angle in enumerate(np.atleast_1d(angles)):
                    zeros[axis].append(angle == 0)
                    if angle != 0:
                        record.values[f"rotation.angle{axis}"].append(math.degrees(angle))
            if scaling:
                same.append(len(set(factors)) == 1)
                for axis, factor in enumerate(factors):
                    record.values[f"scaling.factor{axis}"].append(factor)
        for heard in (rotation, scaling, affine):
            heard.clear()
    for name, make in makers.items():
        setattr(spatial, name, make)
    record.flags("rotation", rotated)
    for axis, flags in zeros.items():
        record.flags(f"rotation.angle{axis}.zero_share", flags)
    record.flags("scaling", scaled)
    record.flags("scaling.same", same)


def draw_mirror(transform, data, record):
    flipped = [transform.get_parameters(**data)["axes"] for _ in range(SAMPLES)]
    for axis in transform.allowed_axes:
        record.flags(f"mirror.axis{axis}", [axis in axes for axes in flipped])


def draw_axes(name, transform, data, record):
    """Quarter turns and transpositions."""
    for _ in range(SAMPLES):
        parameters = transform.get_parameters(**data)
        if isinstance(transform, Rot90Transform):
            record.counts[f"{name}.turns"][str(parameters["num_rot_per_combination"][0])] += 1
            record.counts[f"{name}.axes"][",".join(str(a - 1) for a in parameters["axis_combinations"][0])] += 1
        else:
            record.counts[f"{name}.order"][",".join(str(a - 1) for a in parameters["axis_order"][1:])] += 1


def draw_local(name, transform, data, record):
    """Gradients and local gamma; the Gaussian is heard while it is made."""
    scale, loc, chosen = listen(transform, "scale"), listen(transform, "loc"), []
    for _ in range(SLOW_SAMPLES):
        parameters = transform.get_parameters(**data)
        chosen.append(bool(scale))
        if scale:
            for axis, (s, l) in enumerate(zip(scale, loc)):
                record.values[f"{name}.scale{axis}"].append(math.log(s))
                record.values[f"{name}.loc{axis}"].append(l)
            if isinstance(transform, LocalGammaTransform):
                record.values[f"{name}.gamma"].append(parameters["gammas"][0])
            else:
                kernel = parameters["kernels"][0].ravel()
                record.values[f"{name}.strength"].append(kernel[np.abs(kernel).argmax()])
        scale.clear()
        loc.clear()
    record.flags(f"{name}.channel", chosen)


def draw_intensity(name, transform, data, record):
    chosen, same = [], []
    for _ in range(SAMPLES):
        parameters = transform.get_parameters(**data)
        applies = parameters.get("apply_to_channel", parameters.get("apply_channel", parameters.get("apply_idx")))
        is_mask = isinstance(applies, list) or applies.dtype == torch.bool
        chosen.append(bool(applies[0]) if is_mask else len(applies) > 0)
        if chosen[-1]:
            same.extend(read(name, transform, parameters, data["image"].shape[1:], record))
    record.flags(f"{name}.channel", chosen)
    if same:
        record.flags(f"{name}.same", same)


def read(name, transform, parameters, shape, record):
    """Records what was drawn for the one channel. Returns whether all axes got the same, where each has its own value."""
    values, counts = record.values, record.counts
    match transform:
        case GaussianNoiseTransform():
            values[f"{name}.sigma"].append(parameters["sigmas"])
        case GaussianBlurTransform():
            sigmas = parameters["sigmas"][0]
            for axis, sigma in enumerate(sigmas):
                values[f"{name}.sigma{axis}"].append(sigma)
            return [len(set(sigmas)) == 1]
        case MultiplicativeBrightnessTransform() | ContrastTransform():
            values[f"{name}.multiplier"].append(parameters["multipliers"][0].item())
        case SimulateLowResolutionTransform():
            values[f"{name}.scale"].append(parameters["scales"][0, -1].item())
        case GammaTransform():
            values[f"{name}.exponent"].append(parameters["gamma"][0].item())
        case BrightnessAdditiveTransform():
            values[f"{name}.shift"].append(parameters["shift"][0].item())
        case MedianFilterTransform():
            counts[f"{name}.size"][str(parameters["filter_sizes"][0])] += 1
        case SharpeningTransform():
            values[f"{name}.strength"].append(parameters["strengths"][0])
        case BlankRectangleTransform():
            counts[f"{name}.number"][str(len(parameters["rectangles"][0]))] += 1
            for lower, upper in parameters["rectangles"][0]:
                for axis, (l, u) in enumerate(zip(lower, upper)):
                    counts[f"{name}.size{axis}"][str(u - l)] += 1
                    values[f"{name}.position{axis}"].append(l / (shape[axis] - (u - l)))
        case _:
            raise TypeError(transform)
    return []


def names(transforms, is_da5):
    """What this file calls the gated transforms of a pipeline, in their order."""
    plain = {
        GaussianNoiseTransform: "noise", GaussianBlurTransform: "blur", MultiplicativeBrightnessTransform: "brightness",
        SimulateLowResolutionTransform: "low_resolution", Rot90Transform: "rot90", TransposeAxesTransform: "transpose",
        MedianFilterTransform: "median", BrightnessAdditiveTransform: "brightness_additive",
        BlankRectangleTransform: "rectangles", BrightnessGradientAdditiveTransform: "gradient",
        LocalGammaTransform: "local_gamma", SharpeningTransform: "sharpen",
    }
    found, inverted = [], 0
    for transform in transforms:
        if isinstance(transform, ContrastTransform):
            kind = "_preserving" if transform.preserve_range else "_free"
            found.append("contrast" + kind if is_da5 else "contrast")
        elif isinstance(transform, GammaTransform):
            inverted += transform.p_invert_image == 1
            number = f"_{inverted}" if is_da5 else ""
            found.append(f"gamma_inverted{number}" if transform.p_invert_image == 1 else "gamma")
        else:
            found.append(plain[type(transform)])
    return found


def drawn(seed, trainer, patch, degrees, mirror_axes, dummy):
    torch.manual_seed(seed)
    np.random.seed(seed)
    data, record, gated = {"image": torch.rand(1, *patch)}, Record(), []
    turn = math.radians(degrees)
    pipeline = trainer.get_training_transforms(patch, (-turn, turn), None, mirror_axes, dummy)
    for step in pipeline.transforms:
        match step:
            case Convert3DTo2DTransform() | Convert2DTo3DTransform():
                data = step(**data)
            case spatial.SpatialTransform():
                draw_spatial(step, data, record)
            case MirrorTransform():
                draw_mirror(step, data, record)
            case RandomTransform() | OneOfTransform():
                gated += firing(step, data)
            case RemoveLabelTansform():
                pass
            case _:
                raise TypeError(step)
    for name, (transform, rate) in zip(names([t for t, _ in gated], trainer is nnUNetTrainerDA5), gated):
        record.rates[name] = rate
        match transform:
            case Rot90Transform() | TransposeAxesTransform():
                draw_axes(name, transform, data, record)
            case BrightnessGradientAdditiveTransform() | LocalGammaTransform():
                draw_local(name, transform, data, record)
            case _:
                draw_intensity(name, transform, data, record)
    return record


def shortened(number):
    return float(f"{number:.6g}")


def lines(entries):
    return "{\n" + ",\n".join(f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in entries.items()) + "}"


def text(record, patch, degrees):
    shares = {name: {value: shortened(count / counts.total()) for value, count in sorted(counts.items())}
              for name, counts in record.counts.items()}
    steps = np.linspace(0, 1, QUANTILES)
    quantiles = {name: [shortened(q) for q in np.quantile(values, steps)] for name, values in record.values.items()}
    rates = {name: shortened(rate) for name, rate in record.rates.items()}
    return (f'{{"patch":{json.dumps(patch)},"rotation_degrees":{degrees},\n"rates":{lines(rates)},\n'
            f'"shares":{lines(shares)},\n"quantiles":{lines(quantiles)}}}')


pipelines = []
for seed, (name, trainer, patch, degrees, mirror_axes, dummy) in enumerate(SITUATIONS):
    pipelines.append(f'"{name}":{text(drawn(seed, trainer, patch, degrees, mirror_axes, dummy), patch, degrees)}')
Path(__file__).with_name("draws.json").write_text("{\n" + ",\n".join(pipelines) + "\n}\n")
