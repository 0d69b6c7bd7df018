"""Plans of nnU-Net's ExperimentPlanner for made-up fingerprints: writes plans.json.

Needs an environment with nnU-Net 2.8.1 (see README.md); no images are read.
"""

import contextlib
import io
import json
import os
import tempfile
from pathlib import Path

root = Path(tempfile.mkdtemp())
for name in ("raw", "preprocessed", "results"):
    os.environ[f"nnUNet_{name}"] = str(root / name)

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner  # noqa: E402
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO  # noqa: E402


class Planner(ExperimentPlanner):
    def determine_reader_writer(self):
        return SimpleITKIO


# name: channels, labels, number of cases, relative size after cropping, spacings, shapes
CASES = {
    # One coarse axis, which is not the first one: 10th percentile, transposition, anisotropic kernels and strides.
    "anisotropic": (["MRI"], ["background", "a", "b", "c"], 100, 1.0,
                    [[1.5625, 10, 1.5625], [1.4, 5, 1.4], [1.6, 10.0, 1.5], [1.5, 9.5, 1.5]],
                    [[256, 10, 216], [240, 18, 200], [251, 9, 215], [256, 9, 232]]),
    # Large CT: the patch shrinks, 3d_lowres exists, so batch_dice is true.
    "large_ct": (["CT", "zscore"], ["background", "liver", "tumour", "ignore"], 131, 1.0,
                 [[1.0, 0.767, 0.767], [0.8, 0.7, 0.7], [2.5, 0.9, 0.9], [1.0, 0.8, 0.81], [1.0, 0.68, 0.68]],
                 [[432, 512, 512], [620, 512, 512], [180, 512, 512], [501, 510, 487], [799, 512, 512]]),
    # Four channels, empty border cropped away: normalisation inside the mask; ties between all axes while shrinking.
    "masked": (["FLAIR", "T1", "T1ce", "NoNorm"], ["background", "whole", "core"], 484, 0.6,
               [[1.0, 1.0, 1.0]] * 3, [[138, 169, 138], [140, 168, 140], [138, 171, 137]]),
    "cubes": (["x"], ["background", "a"], 20, 1.0, [[1.0, 1.0, 1.0]] * 2, [[256, 256, 256], [256, 256, 256]]),
    # 2D images: no 3D configuration.
    "flat": (["rgb_to_0_1", "rgb_to_0_1", "rgb_to_0_1"], ["background", "road"], 33, 1.0,
             [[999, 1, 1]] * 3, [[1, 1500, 1500], [1, 1400, 1600], [1, 1501, 1499]]),
    # A lowres configuration that is dropped because it is hardly smaller.
    "hardly_larger": (["CT"], ["background", "a"], 40, 1.0, [[1.5, 0.8, 0.8], [1.5, 0.8, 0.8]],
                      [[150, 300, 300], [151, 310, 310]]),
    # Very coarse slices whose 10th percentile is below the in-plane spacing.
    "coarse_below": (["CT"], ["background", "a"], 12, 1.0,
                     [[0.5, 1, 1], [0.6, 1, 1], [6, 1, 1], [6, 1, 1], [6, 1, 1]],
                     [[300, 256, 256], [280, 256, 256], [25, 256, 256], [30, 256, 256], [28, 256, 256]]),
}

golden = {}
for index, (name, (channels, labels, cases, relative, spacings, shapes)) in enumerate(CASES.items(), 1):
    dataset = f"Dataset{index:03d}_{name}"
    for folder in ("raw", "preprocessed"):
        (root / folder / dataset).mkdir(parents=True)
    dataset_json = {
        "channel_names": {str(i): channel for i, channel in enumerate(channels)},
        "labels": {label: i for i, label in enumerate(labels)},
        "numTraining": cases,
        "file_ending": ".nii.gz",
        "dataset": {},
    }
    intensities = dict(max=3.0, mean=1.0, median=1.0, min=0.0, percentile_00_5=0.0, percentile_99_5=2.5, std=0.5)
    fingerprint = {
        "foreground_intensity_properties_per_channel": {str(i): intensities for i in range(len(channels))},
        "median_relative_size_after_cropping": relative,
        "shapes_after_crop": shapes,
        "spacings": [[float(s) for s in spacing] for spacing in spacings],
    }
    (root / "raw" / dataset / "dataset.json").write_text(json.dumps(dataset_json))
    (root / "preprocessed" / dataset / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    with contextlib.redirect_stdout(io.StringIO()):
        Planner(dataset).plan_experiment()
    plans = json.loads((root / "preprocessed" / dataset / "nnUNetPlans.json").read_text())
    plans["experiment_planner_used"] = "ExperimentPlanner"
    print(name, list(plans["configurations"]), plans["transpose_forward"], [c.get("patch_size") for c in plans["configurations"].values()])
    # The cascade's configurations are not planned by the side that is compared.
    plans["configurations"] = {k: v for k, v in plans["configurations"].items() if k in ("2d", "3d_fullres")}
    del dataset_json["dataset"]
    golden[name] = {"dataset": dataset_json, "fingerprint": fingerprint, "plans": plans}

Path(__file__).with_name("plans.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
