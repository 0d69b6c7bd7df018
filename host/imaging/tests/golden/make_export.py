"""Writes export.json and export.bin: small random logits, resampled and turned into labels by nnU-Net itself.

Run it in an environment that has nnunetv2 2.8.1 (scikit-image 0.26, scipy 1.17):
    python make_export.py
The .bin file holds logits (float32) and labels (int16) one after the other in little endian. "ties" are the voxels, counted in C order,
where the last bits decide: of the logits that nnU-Net resamples in 64 bits, the two largest differ by less than 1e-5 of the larger, or
a region's lies within 1e-5 of 0. Elsewhere labels have to be nnU-Net's.
"""

import json
from pathlib import Path

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, resample_data_or_seg_to_shape
from nnunetv2.utilities.label_handling.label_handling import LabelManager

ISOTROPIC = (1.0, 1.0, 1.0)
ANISOTROPIC = (5.0, 1.0, 1.0)
# What nnU-Net's planner writes for logits.
LINEAR = (1, 0, None)
# kind, (order, order_z, force_separate_z), shape of the logits (C, Z, Y, X), spacing, new spacing
CASES = [
    ("labels", LINEAR, (3, 7, 8, 9), ISOTROPIC, (0.7, 0.8, 0.6)),
    ("labels", LINEAR, (5, 9, 8, 7), ISOTROPIC, (1.7, 1.5, 2.0)),
    ("labels", LINEAR, (4, 6, 9, 8), ISOTROPIC, (1.0, 0.6, 1.4)),
    ("labels", LINEAR, (12, 5, 4, 6), ISOTROPIC, (0.4, 0.5, 0.3)),
    ("labels", LINEAR, (1, 5, 6, 7), ISOTROPIC, (0.7, 0.8, 0.6)),
    ("labels", LINEAR, (3, 5, 6, 7), ISOTROPIC, ISOTROPIC),
    # A separate axis: z, y and x in turn; the new spacing decides; the planes keep their shape; z does.
    ("labels", LINEAR, (3, 6, 9, 8), ANISOTROPIC, (2.2, 0.8, 1.3)),
    ("labels", LINEAR, (3, 9, 5, 8), (1.0, 4.0, 1.2), (1.5, 6.5, 0.8)),
    ("labels", LINEAR, (3, 8, 9, 4), (1.0, 1.0, 2.5), (0.8, 1.2, 0.7)),
    ("labels", LINEAR, (3, 12, 7, 6), ISOTROPIC, (4.0, 1.3, 0.7)),
    ("labels", LINEAR, (3, 5, 8, 8), ANISOTROPIC, (2.0, 1.0, 1.0)),
    ("labels", LINEAR, (3, 5, 8, 8), ANISOTROPIC, (5.0, 0.7, 0.8)),
    # One slice, as of 2D data; axes of one voxel; rows wider than a vector.
    ("labels", LINEAR, (4, 1, 12, 11), (999.0, 1.0, 1.0), (999.0, 0.7, 1.6)),
    ("labels", LINEAR, (3, 3, 12, 1), ISOTROPIC, (0.6, 1.6, 0.3)),
    ("labels", LINEAR, (2, 4, 5, 40), ISOTROPIC, (0.8, 0.7, 0.6)),
    # Equal logits often meet: whole numbers at twice the resolution.
    ("whole", LINEAR, (4, 6, 5, 7), ISOTROPIC, (0.5, 0.5, 0.5)),
    ("labels", (1, 1, None), (3, 5, 7, 6), (4.0, 1.0, 1.0), (1.0, 0.7, 1.4)),
    ("labels", (1, 0, False), (3, 5, 8, 9), ANISOTROPIC, (2.2, 0.8, 1.3)),
    ("labels", (1, 0, True), (3, 7, 8, 6), (1.3, 1.0, 1.0), (1.7, 0.8, 1.3)),
    ("labels", (0, 0, None), (3, 7, 8, 6), ISOTROPIC, (0.7, 1.6, 0.9)),
    ("labels", (0, 1, None), (3, 7, 6, 6), (1.0, 4.0, 1.0), (1.3, 2.5, 0.6)),
    ("labels", (3, 0, None), (3, 7, 8, 6), ISOTROPIC, (0.7, 1.6, 0.9)),
    ("labels", (3, 1, None), (3, 6, 9, 8), ANISOTROPIC, (2.2, 0.8, 1.3)),
    ("labels", (1, 3, None), (3, 7, 6, 4), (1.0, 1.0, 4.0), (0.7, 1.4, 2.5)),
    ("regions", LINEAR, (3, 7, 8, 9), ISOTROPIC, (0.7, 0.8, 0.6)),
    ("regions", LINEAR, (3, 6, 9, 8), ANISOTROPIC, (2.2, 0.8, 1.3)),
    ("regions", LINEAR, (3, 9, 8, 7), ISOTROPIC, ISOTROPIC),
    ("regions", (3, 0, None), (3, 7, 8, 6), ISOTROPIC, (0.7, 1.6, 0.9)),
]
# Labels that the three regions are painted with, as those of BraTS: the whole tumour first.
REGION_ORDER = [2, 1, 3]
CLOSE = 1e-5


def label_manager(kind, classes):
    if kind == "regions":
        return LabelManager({"background": 0, "whole": (1, 2, 3), "core": (2, 3), "enhancing": 3}, REGION_ORDER)
    return LabelManager({"background" if label == 0 else f"label {label}": label for label in range(classes)}, None)


def close_calls(kind, logits):
    if kind == "regions":
        return (np.abs(logits) < CLOSE).any(0)
    if len(logits) == 1:
        return np.zeros(logits.shape[1:], bool)
    second, first = np.sort(logits, axis=0)[-2:]
    return (first - second < CLOSE * np.maximum(np.abs(first), np.abs(second))) | (first == second)


def main():
    rng = np.random.default_rng(4)
    folder = Path(__file__).parent
    cases, blob = [], bytearray()
    for kind, (order, order_z, separate), shape, spacing, new_spacing in CASES:
        logits = rng.normal(0, 4, shape).astype(np.float32)
        if kind == "whole":
            logits = rng.integers(-2, 3, shape).astype(np.float32)
        new_shape = compute_new_shape(shape[1:], spacing, new_spacing)

        def resampled(array):
            return resample_data_or_seg_to_shape(
                array, new_shape, spacing, new_spacing, is_seg=False, order=order, order_z=order_z, force_separate_z=separate
            )

        labels = label_manager(kind, shape[0]).convert_logits_to_segmentation(resampled(logits))
        ties = np.flatnonzero(close_calls(kind, resampled(logits.astype(np.float64))))
        blob += logits.astype("<f4").tobytes() + labels.astype("<i2").tobytes()
        cases.append(
            dict(
                order=order,
                order_z=order_z,
                separate=separate,
                shape=shape,
                spacing=spacing,
                new_spacing=new_spacing,
                new_shape=new_shape.tolist(),
                regions=REGION_ORDER if kind == "regions" else None,
                ties=ties.tolist(),
            )
        )
    (folder / "export.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    (folder / "export.bin").write_bytes(blob)


if __name__ == "__main__":
    main()
