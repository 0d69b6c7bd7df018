"""Small data sets and what nnU-Net makes of them: writes the folders beside this file.

Needs an environment with nnU-Net 2.8.1 (../../compare/README.md): python make_preprocess.py

Every folder DatasetNNN_Name is a data set in nnU-Net's raw format with two things added: nnUNetPlans.json, what nnU-Net planned for it, and
expected.safetensors, what it preprocessed. That has for every CONFIGURATION/CASE:

    image           float32 (C, Z, Y, X)
    labels          int16 (1, Z, Y, X), -1 outside the nonzero mask
    tied            int32 (N,): voxels of `labels`, counted in C order, of which two labels have the same largest share
    locations/I     int32 (N, 3): the first sampled voxels (z, y, x) of class or region I, with an ignore label last those of any label

Metadata `cases`: by CONFIGURATION/CASE the raw spacing and bbox, shape_before_cropping (transposed axes), the numbers of sampled voxels.
"""
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from skimage import io

FOLDER = Path(__file__).resolve().parent
COMPARE = FOLDER.parents[1] / "compare"
sys.path.insert(0, str(COMPARE))
# Asked for when nnU-Net is imported, not used.
os.environ.update({f"nnUNet_{name}": str(FOLDER) for name in ("raw", "preprocessed", "results")})

import blosc2  # noqa: E402
from datasets import Maker, save  # noqa: E402
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero  # noqa: E402
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape  # noqa: E402
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: E402
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets  # noqa: E402

LISTED = 16  # voxels of a class that are kept
TIE = 1e-9


def masked(root: Path) -> str:
    """Coarse along x, so axes are transposed; much empty space, so z-score goes by the mask, and labels reach into it; two channels."""
    make = Maker(root / "Dataset801_Masked", 801, ".nii.gz")
    for case, shape, spacing in (("a", (18, 20, 9), (1.0, 1.0, 3.0)), ("b", (15, 17, 10), (1.2, 1.2, 2.5))):
        labels = make.blobs(shape, 2)
        inside = np.zeros(shape, bool)
        inside[3:-3, 4:-3, 1:-1] = True
        hole = np.zeros(shape, bool)
        hole[7:9, 8:10, 3:5] = True
        inside[3:7, 4:8] = False
        labels[~inside] = 0
        labels[5, 5:7, 3:6] = 2
        for channel in range(2):
            save(make.image(case, channel), (make.mri(labels) * (inside & ~hole)).astype(np.int16), spacing)
        save(make.labels(case), labels, spacing)
    make.finish(["T1", "T2"], {"background": 0, "a": 1, "b": 2})
    return make.folder.name


def coarse(root: Path) -> str:
    """CT with slices far apart, which are resampled apart: by the spacing of the image, by that of the plan only, and a single slice."""
    make = Maker(root / "Dataset802_Coarse", 802, ".nii.gz")
    shapes = {"image": ((7, 26, 24), (5.0, 0.8, 0.8)), "plan": ((9, 14, 13), (2.5, 1.0, 1.0)), "slice": ((1, 22, 25), (6.0, 0.9, 0.9))}
    for case, (shape, spacing) in shapes.items():
        labels = make.blobs(shape, 3)
        save(make.image(case), make.ct(labels).astype(np.int16), spacing)
        save(make.labels(case), labels, spacing)
    make.finish(["CT"], {"background": 0, "a": 1, "b": 2, "c": 3})
    return make.folder.name


def regions(root: Path) -> str:
    """Nested regions; resampled along every axis, up and down."""
    make = Maker(root / "Dataset803_Regions", 803, ".nii.gz")
    for case, spacing in (("a", (1.5, 1.0, 1.3)), ("b", (1.0, 1.2, 1.1)), ("c", (1.2, 1.1, 1.0))):
        labels = make.blobs((13, 15, 14), 3)
        save(make.image(case), make.mri(labels).astype(np.float32), spacing)
        save(make.labels(case), labels, spacing)
    make.finish(["MR"], {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "tip": 3}, regions_class_order=[1, 2, 3])
    return make.folder.name


def ignored(root: Path) -> str:
    """Sparse annotation with an ignore label, an image that is zero, and one without foreground."""
    make = Maker(root / "Dataset804_Ignored", 804, ".nii.gz")
    for case, spacing in (("sparse", (1.0, 1.0, 1.0)), ("empty", (1.2, 1.0, 1.0)), ("zero", (1.2, 1.0, 0.9))):
        labels = make.blobs((12, 14, 13), 2)
        image = make.mri(labels).astype(np.float32)
        image[:2] = 0
        labels[np.arange(12) % 3 != 0] = 3
        if case == "empty":
            labels[:] = 0
        if case == "zero":
            image[:] = 0
        save(make.image(case), image, spacing)
        save(make.labels(case), labels, spacing)
    make.finish(["MR"], {"background": 0, "a": 1, "b": 2, "ignore": 3})
    return make.folder.name


def colours(root: Path) -> str:
    """Two-dimensional RGB."""
    make = Maker(root / "Dataset805_Colours", 805, ".png")
    for case, shape in (("a", (1, 30, 26)), ("b", (1, 24, 33))):
        labels = make.blobs(shape, 2)[0]
        image = np.stack([100 + 50.0 * labels + 25 * make.smooth(shape)[0] for _ in range(3)], -1)
        io.imsave(make.image(case), np.clip(image, 0, 255).astype(np.uint8), check_contrast=False)
        io.imsave(make.labels(case), labels, check_contrast=False)
    make.finish(["rgb_to_0_1"] * 3, {"background": 0, "road": 1, "car": 2})
    return make.folder.name


def expected(raw: Path, peer: Path) -> None:
    """Gathers all cases of all configurations into one file."""
    plans = json.loads((peer / "nnUNetPlans.json").read_text())
    manager = PlansManager(plans)
    tensors, cases = {}, {}
    # One data set shows how 2d keeps the spacing of slices.
    kept = [name for name in plans["configurations"] if name != "2d" or raw.name in ("Dataset801_Masked", "Dataset805_Colours")]
    for configuration in kept:
        plan = manager.get_configuration(configuration)
        for case, files in get_filenames_of_train_images_and_targets(str(raw)).items():
            at = f"{configuration}/{case}"
            stored = peer / plan.data_identifier / case
            image, labels = (blosc2.open(urlpath=f"{stored}{name}.b2nd", mode="r")[:] for name in ("", "_seg"))
            properties = pickle.loads(Path(f"{stored}.pkl").read_bytes())
            tensors |= {f"{at}/image": image, f"{at}/labels": labels, f"{at}/tied": tied(files, manager, plan, labels)}
            locations = list(properties["class_locations"].values())
            for index, voxels in enumerate(locations):
                listed = np.asarray(voxels[:LISTED], np.int32).reshape(-1, 4)[:, 1:]
                tensors[f"{at}/locations/{index}"] = np.ascontiguousarray(listed)
            cases[at] = {
                "spacing": [float(size) for size in properties["spacing"]],
                "bbox": [[int(edge) for edge in pair] for pair in properties["bbox_used_for_cropping"]],
                "shape_before_cropping": [int(size) for size in properties["shape_before_cropping"]],
                "locations": [len(voxels) for voxels in locations],
            }
    path = FOLDER / raw.name / "expected.safetensors"
    save_file(tensors, path, metadata={"cases": json.dumps(cases)})
    path.chmod(0o644)


def tied(files: dict, manager: PlansManager, plan, labels: np.ndarray) -> np.ndarray:
    """Voxels (indices in C order) of which two labels have the same largest share; which of them wins hangs on the last bit."""
    reader = manager.image_reader_writer_class()
    axes = [0, *(axis + 1 for axis in manager.transpose_forward)]
    image, properties = reader.read_images(files["images"])
    _, source, _ = crop_to_nonzero(image.transpose(axes), reader.read_seg(files["label"])[0].transpose(axes))
    spacing = [properties["spacing"][axis] for axis in manager.transpose_forward]
    new_spacing = [*spacing[: 3 - len(plan.spacing)], *plan.spacing]
    shares = [
        resample_data_or_seg_to_shape((source == label).astype(float), labels.shape[1:], spacing, new_spacing, order=1, force_separate_z=None)
        for label in np.unique(source)
    ]
    if len(shares) == 1:
        return np.zeros(0, np.int32)
    second, first = np.sort(np.stack(shares), 0)[-2:]
    return np.flatnonzero(first - second < TIE).astype(np.int32)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        names = [make(root / "raw") for make in (masked, coarse, regions, ignored, colours)]
        subprocess.run([sys.executable, COMPARE / "peer_plan.py", root, "default", *names], check=True, stdout=subprocess.DEVNULL)
        for name in names:
            shutil.rmtree(FOLDER / name, ignore_errors=True)
            shutil.copytree(root / "raw" / name, FOLDER / name)
            shutil.copy(root / "peer" / name / "nnUNetPlans.json", FOLDER / name)
            expected(root / "raw" / name, root / "peer" / name)


if __name__ == "__main__":
    main()
