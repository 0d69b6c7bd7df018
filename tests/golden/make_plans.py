"""Plans of nnU-Net's planners for made-up data sets: writes plans.json.

Needs an environment with nnU-Net 2.8.1 (see README.md). The planners read a fingerprint, a dataset.json and one tiny image, by
which they choose a reader; no data set is needed. Networks are put on torch's meta device: only their shapes are asked for.
"""

import contextlib
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

root = Path(tempfile.mkdtemp())
for name in ("raw", "preprocessed", "results"):
    os.environ[f"nnUNet_{name}"] = str(root / name)

import nibabel  # noqa: E402
import numpy as np  # noqa: E402
import SimpleITK as sitk  # noqa: E402
import skimage.io  # noqa: E402
import tifffile  # noqa: E402
import torch  # noqa: E402
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner  # noqa: E402
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (  # noqa: E402
    ResEncUNetPlanner, nnUNetPlannerResEncL, nnUNetPlannerResEncM, nnUNetPlannerResEncXL)

torch.set_default_device("meta")
PLANNERS = {planner.__name__: planner for planner in
            (ExperimentPlanner, ResEncUNetPlanner, nnUNetPlannerResEncM, nnUNetPlannerResEncL, nnUNetPlannerResEncXL)}
ALL = [name for name in PLANNERS if name != "ResEncUNetPlanner"]


def write_image(path, flat):
    path.parent.mkdir(parents=True)
    image = np.zeros((8, 8) if flat else (8, 8, 8), np.uint8)
    if path.suffix in (".png", ".bmp"):
        skimage.io.imsave(path, image, check_contrast=False)
    elif path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, image)
    elif path.suffix == ".nii":
        nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(image), path)


def fingerprint_of(channels, relative, cases):
    """`cases`: number of cases, spacing, shape; a list of them stands for as many cases."""
    intensities = dict(max=3.0, mean=1.0, median=1.0, min=0.0, percentile_00_5=0.0, percentile_99_5=2.5, std=0.5)
    return {
        "foreground_intensity_properties_per_channel": {str(i): intensities for i in range(channels)},
        "median_relative_size_after_cropping": relative,
        "shapes_after_crop": [shape for count, _, shape in cases for _ in range(count)],
        "spacings": [[float(s) for s in spacing] for count, spacing, _ in cases for _ in range(count)],
    }


def plan(dataset_name, description, fingerprint, planner, memory_gb=None, plans_name=None, spacing=None):
    """What plan_and_preprocess_api.plan_experiment_dataset does."""
    raw, preprocessed = root / "raw" / dataset_name, root / "preprocessed" / dataset_name
    flat = fingerprint["spacings"][0][0] == 999
    write_image(raw / "imagesTr" / f"case_0000{description['file_ending']}", flat)
    preprocessed.mkdir(parents=True)
    (raw / "dataset.json").write_text(json.dumps(description))
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    options = {"gpu_memory_target_in_gb": memory_gb, "plans_name": plans_name}
    options = {key: value for key, value in options.items() if value is not None}
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            planner = PLANNERS[planner](dataset_name, overwrite_target_spacing=spacing, **options)
            planner.plan_experiment()
        return json.loads((preprocessed / f"{planner.plans_identifier}.json").read_text())
    finally:
        shutil.rmtree(raw)
        shutil.rmtree(preprocessed)


class Shared:
    """Writes a value that occurs more than once as {"$": index into `values`}, which keeps the file small."""

    def __init__(self, tree):
        self.counts, self.values, self.index = {}, [], {}
        self.count(tree)
        self.tree = self.shorten(tree)

    def count(self, value):
        if isinstance(value, (dict, list)):
            text = json.dumps(value)
            self.counts[text] = self.counts.get(text, 0) + 1
            if self.counts[text] == 1:
                for inner in value.values() if isinstance(value, dict) else value:
                    self.count(inner)

    def shorten(self, value):
        if not isinstance(value, (dict, list)):
            return value
        text = json.dumps(value)
        if text in self.index:
            return {"$": self.index[text]}
        short = {k: self.shorten(v) for k, v in value.items()} if isinstance(value, dict) else [self.shorten(v) for v in value]
        if self.counts[text] == 1 or len(json.dumps(short, separators=(",", ":"))) < 12:
            return short
        self.index[text] = len(self.values)
        self.values.append(short)
        return {"$": self.index[text]}


def labels(*names, **further):
    return {name: i for i, name in enumerate(("background", *names))} | further


def many(count):
    return labels(*(f"l{i}" for i in range(1, count)))


# Cases as number, spacing, shape. Shapes are after cropping; z, y, x of the file unless the name says otherwise.
MR, CT = ["MRI"], ["CT"]
AB = labels("a", "b")
MSD_SPACING = [0.7, 0.767, 0.8, 0.9, 1.0]
LIVER = [(26, [[1.0, 0.8, 2.5, 5.0, 0.7][i], s, s], [[432, 620, 180, 90, 799][i], 512, 512]) for i, s in enumerate(MSD_SPACING)]
# name: channels, labels, number of cases, relative size after cropping, cases, further keys of dataset.json
DATASETS = {
    # One coarse axis, which is not the first one: 10th percentile, transposition, anisotropic kernels and strides.
    "coarse_y": (MR, labels("a", "b", "c"), 100, 1.0, [(1, [1.5625, 10, 1.5625], [256, 10, 216]), (1, [1.4, 5, 1.4], [240, 18, 200]),
                 (1, [1.6, 10.0, 1.5], [251, 9, 215]), (1, [1.5, 9.5, 1.5], [256, 9, 232])], {}),
    "coarse_x": (MR, AB, 30, 1.0, [(3, [0.9, 0.8, 4.0], [320, 300, 40]), (2, [0.8, 0.8, 3.3], [330, 310, 44])], {}),
    "cardiac": (MR, labels("rv", "myo", "lv"), 200, 1.0, [(60, [10.0, 1.5625, 1.5625], [9, 256, 216]), (30, [5.0, 1.4, 1.4], [18, 248, 214]),
                (10, [6.5, 1.25, 1.25], [12, 320, 288])], {}),
    "prostate": (["T2", "ADC"], labels("pz", "tz"), 32, 1.0, [(30, [3.6, 0.625, 0.625], [20, 320, 320]), (2, [4.0, 0.6, 0.6], [18, 384, 384])], {}),
    # Large images: the patch shrinks, 3d_lowres and the cascade are planned.
    "liver": (CT, labels("liver", "tumour"), 131, 1.0, LIVER, {}),
    "lung": (["CT", "zscore"], labels("tumour", ignore=2), 63, 1.0, [(1, [1.25, s, s], [n, 512, 512]) for s, n in
             zip(MSD_SPACING, [252, 301, 113, 512, 377])], {}),
    "whole_body_117": (CT, many(118), 1204, 1.0, [(300, [1.5, 1.5, 1.5], [230, 220, 226]), (301, [1.5, 1.5, 1.5], [311, 333, 333])], {}),
    "whole_body_raw": (CT, many(25), 400, 1.0, [(40, [0.98, 0.98, 0.98], [1800, 512, 512]), (41, [1.5, 1.37, 1.37], [1100, 512, 512])], {}),
    "petct": (["CT", "PET"], labels("lesion"), 1014, 1.0, [(1014, [3.0, 2.0364, 2.0364], [326, 400, 400])], {}),
    "huge": (CT, AB, 5, 1.0, [(5, [0.05, 0.05, 0.05], [2000, 2100, 2200])], {}),
    # A lowres configuration that is dropped because it is hardly smaller.
    "hardly_larger": (CT, labels("a"), 40, 1.0, [(2, [1.5, 0.8, 0.8], [150, 300, 300]), (1, [1.5, 0.8, 0.8], [151, 310, 310])], {}),
    "just_dropped": (CT, labels("a"), 40, 1.0, [(3, [4.0, 0.8, 0.8], [60, 498, 498])], {}),
    "just_kept": (CT, labels("a"), 40, 1.0, [(3, [4.0, 0.8, 0.8], [60, 510, 510])], {}),
    "lowres_of_coarse": (CT, AB, 40, 1.0, [(4, [5.0, 0.7, 0.7], [110, 512, 512]), (3, [7.5, 0.75, 0.75], [80, 512, 512])], {}),
    "lowres_two_coarse": (CT, AB, 40, 1.0, [(4, [0.4, 1.7, 1.5], [900, 300, 350])], {}),
    # Four channels, empty border cropped away: normalisation inside the mask; ties between all axes while shrinking.
    "brats": (["T1", "T1ce", "T2", "FLAIR"], labels(whole=[1, 2, 3], core=[2, 3], enhancing=[3]), 484, 0.6,
              [(2, [1, 1, 1], [138, 169, 138]), (1, [1, 1, 1], [140, 168, 137])], {"regions_class_order": [1, 2, 3]}),
    "regions_ignore": (["T1"], labels(a=[1, 2], b=2, ignore=3), 20, 0.7499, [(20, [1, 1, 1], [160, 160, 160])], {"regions_class_order": [1, 2]}),
    "masked_at_limit": (["T1", "CT", "NoNorm", "rescale_to_0_1"], AB, 20, 0.75, [(20, [1, 1, 1], [90, 100, 110])], {}),
    "masked_all": (["T1", "CT", "noNorm", "RESCALE_TO_0_1", "rgb_to_0_1", "Zscore", "ct", "?"], AB, 20, 0.3, [(20, [1, 1, 1], [90, 100, 110])], {}),
    "modality": (None, AB, 20, 1.0, [(20, [1, 1, 1], [64, 64, 64])], {"modality": {"0": "MRI", "1": "CT"}}),
    "cubes": (["x"], labels("a"), 20, 1.0, [(2, [1, 1, 1], [256, 256, 256])], {}),
    "even_median": (MR, AB, 60, 1.0, [(3, [1, 1, 1], [35, 51, 36]), (3, [1, 1, 1], [36, 50, 35])], {}),
    "mixed_spacings": (MR, AB, 77, 1.0, [(1, [0.5 + 0.07 * i, 1.0, 1.3 - 0.03 * i], [120 - 3 * i, 200 + i, 180 + 2 * i]) for i in range(20)], {}),
    # Very coarse slices whose 10th percentile is below the in-plane spacing.
    "coarse_below": (CT, labels("a"), 12, 1.0, [(1, [0.5, 1, 1], [300, 256, 256]), (1, [0.6, 1, 1], [280, 256, 256]), (3, [6, 1, 1], [27, 256, 256])], {}),
    "three_times": (CT, AB, 40, 1.0, [(4, [3.0, 1.0, 1.0], [60, 250, 250])], {}),
    "coarse_but_many": (CT, AB, 40, 1.0, [(4, [4.0, 1.0, 1.0], [100, 250, 250]), (4, [3.5, 1.0, 1.0], [90, 240, 250])], {}),
    "two_equal_coarse": (MR, AB, 40, 1.0, [(4, [0.24, 1.25, 1.25], [220, 180, 170])], {}),
    "thin": (MR, AB, 15, 1.0, [(15, [8.0, 0.7, 0.7], [3, 512, 480])], {}),
    "two_slices": (MR, AB, 15, 1.0, [(8, [8.0, 0.7, 0.7], [1, 512, 480]), (8, [8.0, 0.7, 0.7], [2, 512, 480])], {}),
    "one_slice": (MR, AB, 15, 1.0, [(8, [8.0, 0.7, 0.7], [1, 512, 480]), (7, [8.0, 0.7, 0.7], [2, 512, 480])], {}),
    "one_slice_fine": (MR, AB, 15, 1.0, [(8, [0.5, 0.7, 0.7], [1, 512, 480])], {}),
    "tiny": (MR, AB, 260, 1.0, [(1, [1, 1, 1], [35, 51, 36])], {}),
    "tiniest": (MR, AB, 50, 1.0, [(5, [1, 1, 1], [9, 12, 10])], {}),
    "one_stage": (MR, AB, 50, 1.0, [(5, [1, 1, 1], [5, 6, 7])], {}),
    "one_case": (CT, AB, 1, 1.0, [(1, [2.0, 0.9, 0.9], [150, 400, 390])], {}),
    "thousands": (MR, AB, 12000, 1.0, [(2500, [1.0, 0.9375, 0.9375], [160, 192, 192]), (2501, [1.2, 1.0, 1.0], [176, 240, 256])], {}),
    "micrometres": (MR, AB, 8, 1.0, [(8, [0.0005, 0.0002, 0.0002], [120, 1024, 1024])], {"file_ending": ".tif"}),
    "metres": (MR, AB, 8, 1.0, [(8, [5e4, 2e4, 2e4], [64, 128, 128])], {"file_ending": ".nrrd"}),
    "odd_spacing": (MR, AB, 80, 1.0, [(9, [1 / 3, 0.1 + 0.2, 0.7], [333, 277, 119])], {"file_ending": ".nii"}),
    "long": (MR, AB, 80, 1.0, [(9, [1.0, 1.0, 1.0], [40, 40, 3000])], {"file_ending": ".mha"}),
    # 2D images: no 3D configuration.
    "roads": (["rgb_to_0_1"] * 3, labels("road"), 33, 1.0, [(1, [999, 1, 1], [1, 1500, 1500]), (1, [999, 1, 1], [1, 1400, 1600]),
              (1, [999, 1, 1], [1, 1501, 1499])], {"file_ending": ".png"}),
    "cells": (["gray"], labels("cell", "border"), 600, 1.0, [(50, [999, 1, 1], [1, 520, 696]), (51, [999, 1, 1], [1, 256, 256])], {"file_ending": ".tif"}),
    "slide": (["R", "G", "B"], many(7), 9, 1.0, [(9, [999, 1, 1], [1, 9000, 12000])], {"file_ending": ".bmp"}),
    "stripe": (["x"], AB, 400, 1.0, [(9, [999, 1, 1], [1, 20, 5000])], {"file_ending": ".PNG"}),
    "stack": (["x"], AB, 40, 1.0, [(9, [1, 1, 1], [30, 500, 500])], {"file_ending": ".tiff"}),
    "reader": (["x"], AB, 40, 1.0, [(9, [1, 1, 1], [80, 90, 100])], {"overwrite_image_reader_writer": "NibabelIOWithReorient"}),
    "unknown_reader": (["x"], AB, 40, 1.0, [(9, [1, 1, 1], [80, 90, 100])], {"overwrite_image_reader_writer": "NoSuchIO"}),
    "no_reader": (["x"], AB, 40, 1.0, [(9, [1, 1, 1], [80, 90, 100])], {"overwrite_image_reader_writer": "None"}),
    "many_classes": (CT, many(600), 300, 1.0, [(30, [1.0, 0.8, 0.8], [200, 300, 300])], {}),
}
# data set: further runs
OVERRIDES = {
    "coarse_y": [dict(planner="ResEncUNetPlanner"), dict(planner="ExperimentPlanner", spacing=[3.0, 1.0, 1.0])],
    "liver": [dict(planner="ResEncUNetPlanner"), dict(planner="ResEncUNetPlanner", plans_name="mine"),
              dict(planner="ExperimentPlanner", memory_gb=24.0, plans_name="nnUNetPlans_24G"),
              dict(planner="nnUNetPlannerResEncL", memory_gb=11.5), dict(planner="nnUNetPlannerResEncXL", memory_gb=80.0, plans_name="XL80"),
              dict(planner="nnUNetPlannerResEncM", spacing=[0.7, 0.5, 0.5], plans_name="fine")],
    "tiny": [dict(planner="ExperimentPlanner", memory_gb=2.0), dict(planner="ExperimentPlanner", memory_gb=0.1),
             dict(planner="ExperimentPlanner", spacing=[2.0, 2.0, 2.0])],
    "tiniest": [dict(planner="ResEncUNetPlanner")],
    "roads": [dict(planner="ResEncUNetPlanner"), dict(planner="ExperimentPlanner", memory_gb=4.0)],
    "petct": [dict(planner="ExperimentPlanner", memory_gb=3.0), dict(planner="ExperimentPlanner", spacing=[1.0, 1.0, 4.0])],
    "brats": [dict(planner="nnUNetPlannerResEncM", memory_gb=6.0), dict(planner="nnUNetPlannerResEncL", memory_gb=40.0)],
}


def main():
    golden = {}
    for index, (name, (channels, names, count, relative, cases, further)) in enumerate(DATASETS.items(), 1):
        described = {"channel_names": {str(i): channel for i, channel in enumerate(channels)}} if channels else {}
        described |= {"labels": names, "numTraining": count, "file_ending": ".nii.gz"} | further
        number = len(described.get("channel_names", described.get("modality")))
        fingerprint = fingerprint_of(number, relative, cases)
        dataset_name = f"Dataset{index:03d}_{name}"
        runs = []
        for options in [dict(planner=planner) for planner in ALL] + OVERRIDES.get(name, []):
            plans = plan(dataset_name, described, fingerprint, **options)
            runs.append({"options": options, "plans": plans})
            print(name, options, {key: value.get("patch_size") for key, value in plans["configurations"].items()}, flush=True)
        golden[name] = {"dataset": described, "relative_size": relative, "cases": cases, "runs": runs}
    shared = Shared(golden)
    text = json.dumps({"shared": shared.values, "datasets": shared.tree}, separators=(",", ":"))
    Path(__file__).with_name("plans.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
