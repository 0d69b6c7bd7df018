"""Fingerprints that nnU-Net's DatasetFingerprintExtractor takes of tiny data sets, foreground locations that its preprocessor draws,
and numbers of numpy's legacy generator: writes fingerprint.safetensors.

Needs an environment with nnU-Net 2.8.1 (see README.md).
"""

import json
import os
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
root = Path(tempfile.mkdtemp())
for name in ("raw", "preprocessed", "results"):
    os.environ[f"nnUNet_{name}"] = str(root / name)

import numpy as np  # noqa: E402
import SimpleITK as sitk  # noqa: E402
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor  # noqa: E402
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

# Draws of a data set, for each channel; nnU-Net takes 1e8, which changes nothing but the time.
DRAWS = 300_000


def case(rng, shape, kind, foreground, channels=1, margin=0):
    """An image (C, Z, Y, X), zero up to `margin` from its border, and a label map (Z, Y, X)."""
    image = np.zeros((channels, *shape), np.float32)
    inner = tuple(slice(m, s - m) for m, s in zip((margin,) * 3, shape))
    size = image[(slice(None), *inner)].shape
    if kind == "int":
        image[(slice(None), *inner)] = rng.integers(-1024, 3000, size)
    elif kind == "mri":
        image[(slice(None), *inner)] = rng.gamma(2.0, 150.0, size) * rng.uniform(0.5, 2.0) + 0.1
    else:
        image[(slice(None), *inner)] = rng.normal(1e-3, 1.0, size)
    labels = np.zeros(shape, np.uint8)
    if foreground == "one":
        labels[tuple(s // 2 for s in shape)] = 1
    elif foreground != "none":
        labels[rng.random(shape) < foreground] = 2
        labels[rng.random(shape) < foreground / 4] = 1
    return image, labels


def datasets():
    rng = np.random.default_rng(7)
    yield "integers", [case(rng, s, "int", 0.3) for s in ((9, 10, 11), (8, 12, 9), (10, 9, 9))]
    yield "floats", [case(rng, s, "mri", 0.4) for s in ((10, 10, 10), (8, 11, 10))]
    yield "three_channels", [case(rng, s, "mri", 0.3, channels=3) for s in ((7, 8, 8), (6, 9, 9))]
    yield "one_case_without_foreground", [case(rng, (8, 9, 9), "normal", f) for f in (0.3, "none", 0.2)]
    # Foreground outside of the nonzero box does not count, zeros of the image inside do.
    yield "much_background", [case(rng, (12, 14, 16), "mri", 0.3, channels=2, margin=m) for m in (4, 3, 5)]
    yield "one_voxel", [case(rng, (5, 6, 7), "int", "one") for _ in range(2)]
    # 2^9 voxels and one more; the first all zero, which is not cropped.
    zero = np.zeros((1, 8, 8, 8), np.float32), np.ones((8, 8, 8), np.uint8)
    image, _ = case(rng, (1, 27, 19), "int", "none")
    yield "powers_of_two", [zero, (image, np.ones((1, 27, 19), np.uint8))]


def fingerprint(number, name, cases):
    folder = root / "raw" / f"Dataset{number:03}_{name}"
    for sub in ("imagesTr", "labelsTr"):
        (folder / sub).mkdir(parents=True)
    channels = cases[0][0].shape[0]
    (folder / "dataset.json").write_text(json.dumps({
        "channel_names": {str(c): f"c{c}" for c in range(channels)}, "labels": {"background": 0, "a": 1, "b": 2},
        "numTraining": len(cases), "file_ending": ".nii.gz", "overwrite_image_reader_writer": "SimpleITKIO"}))
    for index, (image, labels) in enumerate(cases):
        def write(array, file):
            out = sitk.GetImageFromArray(array)
            out.SetSpacing((0.5, 0.75 + index, 2.0))
            sitk.WriteImage(out, str(folder / file))
        for c in range(channels):
            write(image[c], f"imagesTr/case{index}_{c:04}.nii.gz")
        write(labels, f"labelsTr/case{index}.nii.gz")
    extractor = DatasetFingerprintExtractor(number, 2)
    extractor.num_foreground_voxels_for_intensitystats = float(DRAWS)
    return extractor.run(overwrite_existing=True)


def digest(values):
    """Depends on every value and its place."""
    total = 0
    for value in values:
        total = (total * 31 + int(value)) % 2**32
    return total


def random_state():
    """What is drawn, and the first word after it."""
    drawn = []
    for n in (1, 2, 3, 4, 5, 255, 256, 257, 1000, 2**16 - 1, 2**16, 2**16 + 1, 100_000, 2**20, 2**20 + 1, 3_000_017):
        state = np.random.RandomState(1234)
        values = state.choice(n, 5000, replace=True)
        drawn.append({"n": n, "replace": True, "size": 5000, "digest": digest(values), "next": int(state.randint(2**32, dtype=np.uint32))})
    for n, size in ((1, 1), (2, 1), (2, 2), (3, 2), (5, 5), (64, 10), (1000, 999), (2**16, 1000), (2**16 + 1, 1000), (300_001, 3001)):
        state = np.random.RandomState(1234)
        values = state.choice(n, size, replace=False)
        drawn.append({"n": n, "replace": False, "size": size, "digest": digest(values), "next": int(state.randint(2**32, dtype=np.uint32))})
    return drawn


def locations(labels):
    """Number and digest of the voxels drawn, by class or region; the last of `ignore` are those of any label but the ignored one."""
    wanted = {"classes": [[1], [2], [3], [9]], "regions": [[1, 2, 3, 4], [2, 3], [9, 3], [8, 9]],
              "ignore": [[1], [2], [3]]}
    described = {}
    for name, classes in wanted.items():
        asked = [c[0] if len(c) == 1 else tuple(c) for c in classes]
        if name == "ignore":
            asked.append((-1, 0, 1, 2, 3))
        drawn = DefaultPreprocessor._sample_foreground_locations(labels[None], asked)
        # Coordinates (channel, z, y, x).
        drawn = [np.array(drawn[c]).reshape(-1, 4)[:, 1:] for c in asked]
        described[name] = {"labels": classes, "drawn": [[len(d), digest(d.ravel())] for d in drawn]}
    return described


def main():
    arrays, described = {}, {}
    for number, (name, cases) in enumerate(datasets(), start=1):
        for index, (image, labels) in enumerate(cases):
            arrays[f"{name}.{index}.image"], arrays[f"{name}.{index}.labels"] = image, labels
        described[name] = json.loads(json.dumps(fingerprint(number, name, cases)))
    # Mostly of one label, a plane outside of the nonzero mask, some noise.
    rng = np.random.default_rng(8)
    labels = np.ones((24, 25, 26), np.int8)
    labels[0] = -1
    labels[20:, 5:, 3:] = 2
    for value in (0, 3, 4):
        labels[rng.random(labels.shape) < 0.02] = value
    arrays["locations.labels"] = labels
    metadata = {"draws": DRAWS, "datasets": described, "random_state": random_state(), "locations": locations(labels)}
    save_file(arrays, FOLDER / "fingerprint.safetensors", {"fingerprint": json.dumps(metadata)})


if __name__ == "__main__":
    main()
