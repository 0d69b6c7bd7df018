"""nnU-Net's side of `export`: makes a label map of the logits in a raw file and prints what that took, as `bench-export` does.

usage: peer_export.py INPUT OUTPUT SHAPE NEW_SHAPE SPACING NEW_SPACING THREADS float32|float16

SHAPE is written C,Z,Y,X and the other shapes and spacings Z,Y,X. INPUT holds float32, OUTPUT will hold int16, both in C order. The logits
are handed over in the last argument's type: nnU-Net predicts in float16, and rounds what it resamples to the type that it gets. Prints
`seconds S` and `megabytes M`, the latter being how much the call added to resident memory at its peak, output included.
"""
import sys
import time
from pathlib import Path

import numpy as np
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager


def resident_kilobytes(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(key))


def main(source: str, target: str, shape: str, new_shape: str, spacing: str, new_spacing: str, threads: str, dtype: str) -> None:
    shape, new_shape = ([int(size) for size in numbers.split(",")] for numbers in (shape, new_shape))
    spacing, new_spacing = ([float(size) for size in numbers.split(",")] for numbers in (spacing, new_spacing))
    logits = np.fromfile(source, np.float32).reshape(shape).astype(dtype, copy=False)
    # What nnU-Net's planner writes, as far as it is asked for.
    configuration = {
        "architecture": {},  # without, plans count as old ones
        "spacing": spacing,
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
    }
    plans = PlansManager({"transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2], "configurations": {"3d": configuration}})
    labels = LabelManager({"background" if label == 0 else f"label {label}": label for label in range(shape[0])}, None)
    properties = {
        "spacing": new_spacing,
        "shape_before_cropping": new_shape,
        "shape_after_cropping_and_before_resampling": new_shape,
        "bbox_used_for_cropping": [[0, size] for size in new_shape],
    }
    # Finds the function by its name, which imports modules.
    configuration = plans.get_configuration("3d")
    assert configuration.resampling_fn_probabilities
    # Resident memory so far becomes the peak so far.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_kilobytes("VmRSS:")
    start = time.perf_counter()
    out = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, plans, configuration, labels, properties, num_threads_torch=int(threads)
    )
    print(f"seconds {time.perf_counter() - start:.4f}")
    print(f"megabytes {(resident_kilobytes('VmHWM:') - before) / 1024:.1f}")
    out.astype(np.int16).tofile(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
