"""The summary.json that nnU-Net writes of three small cases with regions, an ignore label and a class that is nowhere: writes
summary.json beside this file.

The label maps are made by `values`, which the test `the_file_is_nnunet_s` of host/data/src/evaluate/segmentation.rs has, too.
"""
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import SimpleITK
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

SHAPE = (3, 4, 5)
# Factors of the predicted and of the reference map, by case.
CASES = {"a": ((7, 3), (7, 4)), "b": ((5, 1), (2, 9)), "c": ((11, 2), (11, 2))}
CLASSES = [(1, 2, 3), (2, 3), 3, 6]
IGNORED = 4


def values(a: int, b: int, labels: int) -> np.ndarray:
    i = np.arange(np.prod(SHAPE))
    return ((i * i * a + i * b) // 3 % labels).astype(np.uint8).reshape(SHAPE)


def main() -> None:
    # The mean over cases of a class that none has.
    warnings.simplefilter("ignore", RuntimeWarning)
    target = Path(__file__).resolve().with_name("summary.json")
    with tempfile.TemporaryDirectory() as folder:
        # The file names its cases as it is told of them.
        os.chdir(folder)
        for name, (prediction, reference) in CASES.items():
            # A prediction is never the ignored label.
            for side, array in (("pred", values(*prediction, IGNORED)), ("ref", values(*reference, IGNORED + 1))):
                Path(side).mkdir(exist_ok=True)
                SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), f"{side}/{name}.nii.gz")
        compute_metrics_on_folder("ref", "pred", "summary.json", SimpleITKIO(), ".nii.gz", CLASSES, IGNORED, num_processes=1)
        shutil.copyfile("summary.json", target)
        os.chdir(target.parent)


if __name__ == "__main__":
    main()
