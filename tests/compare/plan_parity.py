"""Compares what our side and nnU-Net made of the same data sets: fingerprint, plans, splits, arrays and what is kept beside them.

    python plan_parity.py ROOT PLANNERS DATASET ...

Reads ROOT/raw, ROOT/peer and ROOT/ours, prints a line for every check, and ends with a code that is not 0 when one fails. Needs zarr.
"""
import json
import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path

import blosc2
import numpy as np
import zarr

# The peer asks for its folders when it is imported.
for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(variable, sys.argv[1])

from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero  # noqa: E402
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: E402
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets  # noqa: E402

PLANS = {"default": "nnUNetPlans", **{f"ResEnc{size}": f"nnUNetResEncUNet{size}Plans" for size in ("M", "L", "XL")}}
RELATIVE = 1e-6  # numbers in JSON
IMAGE_MAX, IMAGE_MEAN = 1e-3, 1e-5
LABELS_EQUAL = 0.9999
TIE = 1e-9  # labels whose interpolated shares of a voxel differ by less than this are tied
ONLY_OURS = {"written_by"}


def differences(found, expected, at: str = "") -> list[str]:
    """Where two JSON values differ, as `path: ours, theirs`."""
    if isinstance(found, dict) and isinstance(expected, dict):
        result = [f"{at}.{key}: only {'ours' if key in found else 'theirs'}" for key in sorted((found.keys() ^ expected.keys()) - ONLY_OURS)]
        both = [key for key in expected if key in found]
        if "mean" in both and abs(found["mean"] - expected["mean"]) <= RELATIVE * expected["std"]:
            # What sums of 32 bits leave of a mean near zero is exact to a part of the deviation, not of itself.
            both.remove("mean")
        return result + [line for key in both for line in differences(found[key], expected[key], f"{at}.{key}")]
    if isinstance(found, list) and isinstance(expected, list):
        if len(found) != len(expected):
            return [f"{at}: {len(found)} entries, {len(expected)}"]
        return [line for i, pair in enumerate(zip(found, expected)) for line in differences(*pair, f"{at}[{i}]")]
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (found, expected))
    if numbers and (found == expected or abs(found - expected) <= RELATIVE * max(abs(found), abs(expected))):
        return []
    return [] if not numbers and type(found) is type(expected) and found == expected else [f"{at}: {found}, {expected}"]


class Report:
    failed = False

    def __call__(self, name: str, problems: list[str], passed: str = "equal") -> None:
        print(f"{'FAIL' if problems else 'ok  '} {name}: {passed if not problems else f'{len(problems)} differ (ours, theirs)'}")
        for problem in problems[:12]:
            print(f"       {problem}")
        self.failed |= bool(problems)


@dataclass
class Ours:
    """A case of our store."""

    image: np.ndarray
    labels: np.ndarray
    properties: dict
    locations: np.ndarray  # (N, 3): sampled voxels of all classes or regions, one after the other

    @classmethod
    def read(cls, path: Path) -> "Ours":
        with zarr.storage.ZipStore(path, mode="r") as store:
            group = zarr.open_group(store, mode="r")
            properties = group.attrs["case"]["properties"]
            return cls(group["image"][:], group["labels/segmentation"][:], properties, group["locations/segmentation"][:])


@dataclass
class Theirs:
    image: np.ndarray
    labels: np.ndarray
    properties: dict

    @classmethod
    def read(cls, folder: Path, case: str) -> "Theirs":
        def array(name):
            return blosc2.open(urlpath=str(folder / f"{case}{name}.b2nd"), mode="r")[:]

        return cls(array(""), array("_seg"), pickle.loads((folder / f"{case}.pkl").read_bytes()))


class DataSet:
    def __init__(self, root: Path, name: str, report: Report):
        self.raw, self.ours, self.theirs, self.name, self.report = root / "raw" / name, root / "ours" / name, root / "peer" / name, name, report

    def json(self, file: str, read=lambda value: value) -> None:
        if not (self.theirs / file).exists():
            return
        try:
            found = json.loads((self.ours / file).read_text())
        except FileNotFoundError:
            return self.report(f"{self.name} {file}", ["not there"])
        self.report(f"{self.name} {file}", differences(read(found), read(json.loads((self.theirs / file).read_text()))))

    def arrays(self, plans: dict, configuration: str) -> None:
        """All cases of one configuration."""
        manager = PlansManager(plans)
        plan = manager.get_configuration(configuration)
        forward = plans["transpose_forward"]
        files = get_filenames_of_train_images_and_targets(str(self.raw))
        problems, worst, voxels, ties, mean = [], 0.0, 0, 0, 0.0
        for case in files:
            path = self.ours / f"{plan.data_identifier}.store" / f"{case}.zarr.zip"
            if not path.exists():
                problems.append(f"{case}: not there")
                continue
            ours, theirs = Ours.read(path), Theirs.read(self.theirs / plan.data_identifier, case)
            if ours.image.shape != theirs.image.shape or ours.labels.shape != theirs.labels.shape:
                problems.append(f"{case}: shapes {ours.image.shape} {ours.labels.shape}, {theirs.image.shape} {theirs.labels.shape}")
                continue
            delta = np.abs(ours.image.astype(np.float64) - theirs.image)
            delta[np.isnan(ours.image) & np.isnan(theirs.image)] = 0
            worst, mean = np.maximum(worst, delta.max()), np.maximum(mean, delta.mean())
            if not (delta.max() <= IMAGE_MAX and delta.mean() <= IMAGE_MEAN):
                where = np.unravel_index(delta.argmax(), delta.shape)
                at = f"at {tuple(map(int, where))}: {ours.image[where]}, {theirs.image[where]}"
                problems.append(f"{case}: image differs by up to {delta.max():.3g}, {delta.mean():.3g} on average; {at}")
            different = ours.labels != theirs.labels
            voxels += different.size
            if different.any():
                tied = self.tied(files[case], manager, plan, ours.labels, theirs.labels)
                ties += tied
                count = int(different.sum())
                if count > tied or count > (1 - LABELS_EQUAL) * different.size:
                    problems.append(f"{case}: {count} of {different.size} label voxels differ, {tied} of them ties")
            problems += [f"{case}: {line}" for line in self.properties(ours, theirs, forward)]
        passed = f"{len(files)} cases; image differs by at most {worst:.2g}, {mean:.2g} on average; {ties} tied of {voxels} label voxels differ"
        self.report(f"{self.name} {plan.data_identifier}", problems, passed)

    def properties(self, ours: Ours, theirs: Theirs, forward: list[int]) -> list[str]:
        """Crop, spacing and sampled voxels."""
        found, expected = ours.properties, theirs.properties
        box = [list(pair) for pair in zip(found["bbox"]["lower"], found["bbox"]["upper"])]
        pairs = {
            "bbox": (box, [[int(edge) for edge in pair] for pair in expected["bbox_used_for_cropping"]]),
            "spacing": (found["spacing"], [float(size) for size in expected["spacing"]]),
            "shape": ([found["shape"][axis] for axis in forward], [int(size) for size in expected["shape_before_cropping"]]),
            "shape_after_crop": (found["shape_after_crop"], [int(size) for size in expected["shape_after_cropping_and_before_resampling"]]),
        }
        problems = [line for name, pair in pairs.items() for line in differences(*pair, name)]
        # They follow from the labels, and nnU-Net's have the channel first.
        voxels = np.concatenate([np.reshape(voxels, (-1, 4))[:, 1:] for voxels in expected["class_locations"].values()])
        if np.array_equal(ours.labels, theirs.labels) and not np.array_equal(ours.locations, voxels):
            problems.append(f"locations: {len(ours.locations)} voxels, {len(voxels)}, not the same")
        return problems

    @staticmethod
    def tied(files: dict, manager: PlansManager, plan, ours: np.ndarray, theirs: np.ndarray) -> int:
        """In how many of the voxels that differ nnU-Net's interpolation gives both labels the same share."""
        reader = manager.image_reader_writer_class()
        axes = [0, *(axis + 1 for axis in manager.transpose_forward)]
        image, properties = reader.read_images(files["images"])
        _, labels, _ = crop_to_nonzero(image.transpose(axes), reader.read_seg(files["label"])[0].transpose(axes))
        spacing = [properties["spacing"][axis] for axis in manager.transpose_forward]
        new_spacing = [*spacing[: 3 - len(plan.spacing)], *plan.spacing]
        where = np.nonzero(ours[0] != theirs[0])
        shares = {}
        for label in np.unique([ours[0][where], theirs[0][where]]):
            # The function for images, with the order of labels: what it does to a label's indicator is what labels are compared by.
            indicator = (labels == label).astype(np.float64)
            settings = {**plan.configuration["resampling_fn_data_kwargs"], "order": plan.configuration["resampling_fn_seg_kwargs"]["order"]}
            resample = plan.resampling_fn_data.func
            shares[label] = resample(indicator, theirs.shape[1:], spacing, new_spacing, **settings)[0][where]
        pairs = zip(ours[0][where], theirs[0][where])
        return sum(abs(shares[a][i] - shares[b][i]) < TIE for i, (a, b) in enumerate(pairs))


def main() -> None:
    root, planners = Path(sys.argv[1]), sys.argv[2].split(",")
    report = Report()
    for name in sys.argv[3:]:
        data = DataSet(root, name, report)
        for file in ("dataset_fingerprint.json", *(f"{PLANS[planner]}.json" for planner in planners), "splits_final.json"):
            data.json(file)
        compared = set()
        for planner in planners:
            plans = json.loads((data.theirs / f"{PLANS[planner]}.json").read_text())
            for configuration, plan in plans["configurations"].items():
                arrays = plan.get("data_identifier")
                # The cascade has no arrays of its own, and timed commands make some configurations only.
                if "inherits_from" not in plan and arrays not in compared and (data.theirs / arrays).is_dir():
                    compared.add(arrays)
                    data.arrays(plans, configuration)
    sys.exit(report.failed)


if __name__ == "__main__":
    main()
