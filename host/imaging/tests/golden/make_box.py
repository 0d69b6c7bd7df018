"""Writes box.json: what nnU-Net makes of patches that reach beyond the box that it loads (`compute_initial_patch_size.py`, `data_loader.py`).

Run with the peer's Python (nnU-Net 2.8.1, batchgeneratorsv2 0.3.6):  python make_box.py

The box is loaded as the data loader does it, and turned by the spatial transform as the default trainer has it, with angles and factors that are
always drawn. Labels are left out (None) where two scores are all but equal.
"""

import json
from pathlib import Path

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from make_augment import DEGREES, numbers, undecided, volume

SHAPE = (9, 24, 22)
IMAGE, LABELS = volume(SHAPE)
# Name, patch, degrees, smallest factor of the box, whether slices stay slices.
FORMS = [
    ("3D", (6, 10, 11), 30, 0.85, False),
    ("3D, DA5", (6, 9, 11), 30, 0.7, False),
    ("dummy 2D", (3, 13, 12), 180, 0.85, True),
    ("2D", (1, 12, 10), 180, 0.85, True),
    ("2D, long", (1, 16, 9), 15, 0.85, True),
]


def record(name, patch, degrees, scale, in_plane, generator):
    flat = patch[0] == 1
    dims = 2 if flat else 3
    angle = degrees * DEGREES
    loaded = [int(n) for n in get_patch_size(patch[-dims:], (-angle, angle), (-angle, angle), (-angle, angle), (scale, 1.25))]
    if flat:
        loaded = [1, *loaded]
    elif in_plane:
        loaded[0] = patch[0]
    # Any voxel may be the centre.
    origin = [int(generator.integers(0, size)) - length // 2 for size, length in zip(SHAPE, patch)]
    lower = [o + p // 2 - n // 2 for o, p, n in zip(origin, patch, loaded)]
    box = [[low, low + n] for low, n in zip(lower, loaded)]
    data = {"image": torch.from_numpy(crop_and_pad_nd(IMAGE[None], box, 0)).float(),
            "segmentation": torch.from_numpy(crop_and_pad_nd(LABELS[None], box, -1)).to(torch.int16)}
    plane = flat or in_plane
    transform = SpatialTransform(
        patch[-2:] if plane else patch, patch_center_dist_from_border=0, random_crop=False, p_elastic_deform=0, p_rotation=1, rotation=(-angle, angle),
        p_scaling=1, scaling=(0.7, 1.4), p_synchronize_scaling_across_axes=1, bg_style_seg_sampling=False)
    if plane:
        data = Convert3DTo2DTransform()(**data)
    drawn = transform.get_parameters(**data)
    labels = data["segmentation"].numpy()
    tied = np.stack([undecided(labels[c], drawn["grid"], False, beyond=0) for c in range(labels.shape[0])])
    data = transform.apply(data, **drawn)
    matrix = np.eye(3)
    size = 2 if plane else 3
    matrix[-size:, -size:] = drawn["affine"]
    found = [None if t else int(v) for v, t in zip(data["segmentation"].numpy().ravel(), tied.ravel())]
    return {"name": name, "origin": origin, "patch": list(patch), "degrees": degrees, "scale": scale, "in_plane": in_plane, "loaded": loaded,
            "matrix": matrix.tolist(), "image": numbers(data["image"].numpy()), "labels": found}


def main():
    torch.manual_seed(0)
    np.random.seed(0)
    generator = np.random.default_rng(1)
    records = [record(*form, generator) for form in FORMS for _ in range(4)]
    source = {"shape": list(SHAPE), "image": numbers(IMAGE), "labels": LABELS.ravel().tolist()}
    Path(__file__).with_name("box.json").write_text(json.dumps({"source": source, "records": records}) + "\n")


if __name__ == "__main__":
    main()
