"""Writes resample_torch.json and resample_torch.bin: small random volumes, resampled by nnU-Net's `resample_torch_fornnunet`.

Run it in an environment that has nnunetv2 2.8.1 and torch 2.13:
    python make_resample_torch.py
The .bin file holds inputs and outputs one after the other in little endian: images as float32, label maps as int16.
"""

import json
from pathlib import Path

import numpy as np
from make_resample import make_input
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

# kwargs beside is_seg, input shape (C, Z, Y, X), spacing, new spacing
PLAIN = {"force_separate_z": False, "memefficient_seg_resampling": False}
SEPARATE = {"force_separate_z": None, "memefficient_seg_resampling": False, "separate_z_anisotropy_threshold": 3}
MAJORITY = {"force_separate_z": None, "memefficient_seg_resampling": True}
CASES = [
    (PLAIN, (1, 7, 8, 9), (1.0, 1.0, 1.0), (0.7, 0.8, 0.6)),
    (PLAIN, (2, 12, 9, 11), (1.0, 1.0, 1.0), (1.7, 1.5, 2.0)),
    (PLAIN, (1, 6, 9, 8), (5.0, 1.0, 1.0), (2.2, 0.8, 1.3)),
    (PLAIN, (1, 6, 8, 8), (5.0, 1.0, 1.0), (2.5, 1.0, 1.0)),
    (PLAIN, (1, 12, 10, 14), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)),
    (PLAIN, (1, 1, 12, 11), (999.0, 1.0, 1.0), (999.0, 0.7, 1.6)),
    (PLAIN, (1, 19, 21, 18), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5)),
    (PLAIN, (1, 19, 21, 18), (1.0, 1.0, 1.0), (0.75, 0.6, 1.5)),
    (SEPARATE, (1, 6, 9, 8), (5.0, 1.0, 1.0), (2.2, 0.8, 1.3)),
    (SEPARATE, (2, 9, 5, 8), (1.0, 4.0, 1.2), (1.5, 6.5, 0.8)),
    (SEPARATE, (1, 8, 9, 4), (1.0, 1.0, 2.5), (0.9, 1.2, 4.0)),
    (SEPARATE, (1, 8, 9, 6), (1.0, 1.0, 4.0), (0.9, 0.9, 2.4)),
    (SEPARATE, (1, 5, 8, 8), (5.0, 1.0, 1.0), (2.0, 1.0, 1.0)),
    (SEPARATE, (1, 8, 6, 6), (0.24, 1.25, 1.25), (0.5, 1.0, 1.1)),
    (SEPARATE, (1, 10, 12, 12), (6.0, 1.0, 1.0), (4.0, 0.5, 0.5)),
    ({**SEPARATE, "separate_z_anisotropy_threshold": 1.5}, (1, 8, 9, 10), (2.0, 1.0, 1.0), (1.2, 0.8, 0.7)),
    ({**SEPARATE, "separate_z_anisotropy_threshold": 10}, (1, 8, 9, 10), (5.0, 1.0, 1.0), (2.3, 0.8, 0.7)),
    ({**PLAIN, "force_separate_z": True}, (1, 8, 7, 9), (1.4, 1.0, 1.0), (1.0, 0.8, 1.3)),
    (MAJORITY, (1, 9, 9, 9), (1.0, 1.0, 1.0), (3.0, 1.5, 0.75)),
    (MAJORITY, (1, 6, 10, 8), (5.0, 1.0, 1.0), (2.2, 2.0, 0.5)),
]


def main():
    rng = np.random.default_rng(3)
    folder = Path(__file__).parent
    cases, blob = [], bytearray()
    for kwargs, shape, spacing, new_spacing in CASES:
        for kind in ["image", "labels"]:
            data = make_input(kind, shape, rng)
            new_shape = compute_new_shape(shape[1:], spacing, new_spacing)
            out = resample_torch_fornnunet(data, new_shape, spacing, new_spacing, is_seg=kind == "labels", **kwargs).astype(data.dtype)
            blob += data.tobytes() + out.tobytes()
            cases.append(dict(kind=kind, kwargs=kwargs, shape=shape, spacing=spacing, new_spacing=new_spacing, new_shape=new_shape.tolist()))
    (folder / "resample_torch.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    (folder / "resample_torch.bin").write_bytes(blob)


if __name__ == "__main__":
    main()
