"""Writes resample.json and resample.bin: small random volumes, resampled by nnU-Net itself.

Run it in an environment that has nnunetv2 2.8.1 (batchgenerators 0.25.5, scikit-image 0.26, scipy 1.17):
    python make_resample.py
A linear order_z of labels is only asked where no output plane lies half-way between two: nnU-Net leaves 0 there, and we do not.
The .bin file holds inputs and outputs one after the other in little endian: images as float32, label maps as int16.
"""

import json
from pathlib import Path

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, resample_data_or_seg_to_shape

ISOTROPIC = (1.0, 1.0, 1.0)
# Rules that nnU-Net's planner writes.
CUBIC = (3, 0, None)
LINEAR = (1, 0, None)
# kind, (order, order_z, force_separate_z), input shape (C, Z, Y, X), spacing, new spacing
CASES = [
    ("image", CUBIC, (1, 7, 8, 9), ISOTROPIC, (0.7, 0.8, 0.6)),
    ("image", CUBIC, (2, 12, 9, 11), ISOTROPIC, (1.7, 1.5, 2.0)),
    ("image", CUBIC, (1, 9, 7, 8), ISOTROPIC, (1.0, 0.6, 1.4)),
    ("image", CUBIC, (1, 1, 6, 7), ISOTROPIC, (1.0, 0.5, 0.7)),
    ("image", CUBIC, (1, 6, 9, 8), (5.0, 1.0, 1.0), (2.2, 0.8, 1.3)),
    ("image", CUBIC, (1, 9, 5, 8), (1.0, 4.0, 1.2), (1.5, 6.5, 0.8)),
    ("image", CUBIC, (1, 8, 9, 4), (1.0, 1.0, 2.5), (0.9, 1.2, 4.0)),
    ("image", CUBIC, (1, 5, 8, 8), (5.0, 1.0, 1.0), (2.0, 1.0, 1.0)),
    ("image", CUBIC, (1, 8, 6, 6), (0.24, 1.25, 1.25), (0.5, 1.0, 1.1)),
    ("image", LINEAR, (2, 7, 8, 6), ISOTROPIC, (0.7, 1.6, 0.9)),
    ("image", LINEAR, (1, 5, 7, 6), (4.0, 1.0, 1.0), (1.0, 0.7, 1.4)),
    ("labels", LINEAR, (1, 8, 9, 7), ISOTROPIC, (0.7, 0.8, 0.6)),
    ("labels", LINEAR, (1, 12, 10, 14), ISOTROPIC, (2.0, 2.0, 2.0)),
    ("labels", LINEAR, (1, 12, 9, 11), ISOTROPIC, (1.7, 0.6, 2.0)),
    ("labels", LINEAR, (1, 9, 9, 9), ISOTROPIC, (3.0, 1.5, 0.75)),
    ("labels", LINEAR, (1, 6, 10, 8), (5.0, 1.0, 1.0), (2.2, 2.0, 0.5)),
    ("labels", LINEAR, (1, 10, 8, 6), (1.0, 1.0, 4.0), (2.0, 0.6, 2.5)),
    ("labels", LINEAR, (1, 1, 12, 10), ISOTROPIC, (1.0, 2.0, 0.6)),
    # Forced and forbidden separate axes, all pairs of orders, axes of one voxel, axes that keep their size.
    ("image", (3, 0, False), (1, 5, 8, 9), (5.0, 1.0, 1.0), (2.2, 0.8, 1.3)),
    ("image", (3, 0, True), (2, 7, 8, 6), (1.3, 1.0, 1.0), (1.7, 0.8, 1.3)),
    ("image", (3, 0, True), (1, 5, 6, 7), ISOTROPIC, (1.2, 0.8, 1.3)),
    ("image", (3, 1, None), (1, 6, 9, 8), (5.0, 1.0, 1.0), (2.2, 0.8, 1.3)),
    ("image", (3, 3, None), (2, 6, 9, 8), (5.0, 1.0, 1.0), (7.1, 0.8, 1.3)),
    ("image", (3, 3, None), (1, 7, 8, 5), (1.0, 1.0, 4.0), (1.3, 0.8, 2.3)),
    ("image", (3, 3, None), (1, 1, 9, 8), (5.0, 1.0, 1.0), (1.7, 0.8, 1.3)),
    ("image", (3, 3, None), (1, 6, 8, 8), (5.0, 1.0, 1.0), (2.0, 1.0, 1.0)),
    ("image", (3, 1, True), (1, 8, 5, 9), (1.0, 1.5, 1.2), (1.4, 0.9, 2.0)),
    ("image", (1, 1, None), (1, 5, 7, 6), (4.0, 1.0, 1.0), (1.0, 0.7, 1.4)),
    ("image", (1, 3, None), (1, 9, 7, 6), (4.0, 1.0, 1.0), (7.0, 0.7, 1.4)),
    ("image", (1, 0, False), (2, 6, 1, 7), (1.0, 9.0, 1.0), (1.6, 2.5, 0.7)),
    ("image", (0, 0, None), (1, 7, 8, 6), ISOTROPIC, (0.7, 1.6, 0.9)),
    ("image", (0, 3, None), (1, 6, 7, 6), (4.0, 1.0, 1.0), (2.5, 0.7, 1.4)),
    ("image", (0, 1, None), (1, 7, 6, 6), (1.0, 4.0, 1.0), (1.3, 2.5, 0.6)),
    # The current spacing is isotropic, the new one decides; both anisotropic along different axes; one slice, as of 2D data.
    ("image", CUBIC, (1, 12, 9, 8), ISOTROPIC, (4.0, 1.3, 0.7)),
    ("image", CUBIC, (1, 6, 9, 9), (5.0, 1.0, 1.0), (1.2, 4.0, 1.2)),
    ("image", CUBIC, (3, 1, 12, 11), (999.0, 1.0, 1.0), (999.0, 0.7, 1.6)),
    ("image", CUBIC, (1, 3, 12, 1), ISOTROPIC, (0.6, 1.6, 0.3)),
    # More lines than are worked on side by side, and the same along every axis.
    ("image", CUBIC, (1, 19, 21, 18), ISOTROPIC, (1.4, 1.7, 1.6)),
    ("labels", (0, 0, None), (1, 7, 8, 6), ISOTROPIC, (0.7, 1.6, 0.9)),
    ("labels", (0, 0, None), (1, 6, 8, 6), (4.0, 1.0, 1.0), (2.7, 1.6, 0.9)),
    ("labels", (1, 0, False), (1, 6, 8, 7), (5.0, 1.0, 1.0), (2.2, 2.0, 0.7)),
    ("labels", (1, 0, True), (1, 8, 6, 9), (1.0, 1.5, 1.0), (1.7, 1.1, 1.4)),
    ("labels", (1, 1, None), (1, 7, 8, 9), (5.0, 1.0, 1.0), (2.2, 1.4, 0.7)),
    ("labels", (0, 1, None), (1, 9, 8, 7), (4.0, 1.0, 1.0), (6.7, 1.4, 0.7)),
    ("labels", LINEAR, (2, 1, 12, 11), (999.0, 1.0, 1.0), (999.0, 0.7, 2.0)),
    ("labels", LINEAR, (1, 3, 12, 1), ISOTROPIC, (0.6, 1.6, 0.3)),
    ("labels", LINEAR, (1, 6, 9, 9), (5.0, 1.0, 1.0), (1.2, 4.0, 2.0)),
]


def make_input(kind, shape, rng):
    if kind == "image":
        return rng.normal(50, 20, shape).astype(np.float32)
    # Blocks of up to six labels with -1 (outside of the mask) among them: real boundaries, corners where many labels meet.
    coarse = rng.integers(-1, 5, [shape[0], *(-(-size // 2) for size in shape[1:])])
    blocks = coarse.repeat(2, 1).repeat(2, 2).repeat(2, 3)[:, : shape[1], : shape[2], : shape[3]]
    return np.where(rng.random(blocks.shape) < 0.2, rng.integers(-1, 5, blocks.shape), blocks).astype(np.int16)


def main():
    rng = np.random.default_rng(2)
    folder = Path(__file__).parent
    cases, blob = [], bytearray()
    for kind, (order, order_z, separate), shape, spacing, new_spacing in CASES:
        data = make_input(kind, shape, rng)
        new_shape = compute_new_shape(shape[1:], spacing, new_spacing)
        out = resample_data_or_seg_to_shape(
            data, new_shape, spacing, new_spacing, is_seg=kind == "labels", order=order, order_z=order_z, force_separate_z=separate
        )
        assert out.dtype == data.dtype
        blob += data.astype(data.dtype.newbyteorder("<")).tobytes() + out.astype(out.dtype.newbyteorder("<")).tobytes()
        cases.append(
            dict(
                kind=kind,
                order=order,
                order_z=order_z,
                separate=separate,
                shape=shape,
                spacing=spacing,
                new_spacing=new_spacing,
                new_shape=new_shape.tolist(),
            )
        )
    (folder / "resample.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    (folder / "resample.bin").write_bytes(blob)


if __name__ == "__main__":
    main()
