"""nnU-Net's side of `resample`: resamples one raw array a start and prints what that took, as `bench-resample` does.

usage: peer_resample.py image|labels INPUT OUTPUT SHAPE SPACING NEW_SPACING

Triples are written Z,Y,X. Files hold float32 (images) or int16 (labels) in C order. Prints `seconds S` and `megabytes M`, the latter being
how much the call added to resident memory at its peak, output included.
"""
import sys
import time
from pathlib import Path

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, resample_data_or_seg_to_shape

# What nnU-Net's planner writes into plans.
KWARGS = {
    "image": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "labels": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
}


def resident_kilobytes(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(key))


def main(kind: str, source: str, target: str, *triples: str) -> None:
    shape, spacing, new_spacing = ([float(number) for number in triple.split(",")] for triple in triples)
    shape = [int(size) for size in shape]
    data = np.fromfile(source, np.float32 if kind == "image" else np.int16).reshape(1, *shape)
    new_shape = compute_new_shape(shape, spacing, new_spacing)
    # Resident memory so far becomes the peak so far.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_kilobytes("VmRSS:")
    start = time.perf_counter()
    out = resample_data_or_seg_to_shape(data, new_shape, spacing, new_spacing, **KWARGS[kind])
    print(f"seconds {time.perf_counter() - start:.4f}")
    print(f"megabytes {(resident_kilobytes('VmHWM:') - before) / 1024:.1f}")
    out.astype(data.dtype, copy=False).tofile(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
