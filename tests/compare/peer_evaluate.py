"""The other side of `evaluate`.

peer_evaluate.py make FOLDER CASES SIZE       writes label maps of five organs: references, predictions that are a little off, dataset.json
peer_evaluate.py overlap FOLDER               nnU-Net's summary.json of them
peer_evaluate.py surfaces FOLDER TOLERANCE    surface Dice, HD95 and average distance of every label, by DeepMind's surface-distance;
                                              prints the `seconds` of that without reading files
"""
import json
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK

SPACING = (1.2, 0.8, 1.0)  # x, y, z
LABELS = range(1, 6)


def write(path, array):
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))


def make(root, cases, size):
    random = np.random.default_rng(0)
    grid = np.moveaxis(np.indices((size,) * 3), 0, -1) / size
    for case in range(cases):
        maps = {name: np.zeros((size,) * 3, np.uint8) for name in ("references", "predictions")}
        for label in LABELS:
            centre, radii = random.uniform(0.25, 0.75, 3), random.uniform(0.06, 0.2, 3)
            for name, moved in (("references", 0), ("predictions", random.normal(0, 0.01, 3))):
                maps[name][(((grid - centre - moved) / radii) ** 2).sum(-1) < 1] = label
        if case == 0:
            maps["predictions"][maps["predictions"] == 5] = 0  # a label that was not found
            noise = random.random(maps["predictions"].shape) < 1e-4
            maps["predictions"][noise] = 1
        for name, array in maps.items():
            write(root / name / f"case_{case}.nii.gz", array)
    labels = {"background": 0, **{f"organ {label}": label for label in LABELS}}
    description = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": cases, "file_ending": ".nii.gz"}
    (root / "predictions" / "dataset.json").write_text(json.dumps(description))


def overlap(root):
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    folders = [str(root / name) for name in ("references", "predictions")]
    (root / "overlap").mkdir(exist_ok=True)
    output = str(root / "overlap" / "summary.json")
    compute_metrics_on_folder(*folders, output, SimpleITKIO(), ".nii.gz", list(LABELS), num_processes=1)


def surfaces(root, tolerance):
    np.Inf = np.inf  # which it still asks for, and numpy 2 no longer has
    import surface_distance

    measured, seconds = {}, 0.0
    for path in sorted((root / "references").glob("*.nii.gz")):
        maps = [SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(root / name / path.name))) for name in ("references", "predictions")]
        measured[path.name] = {}
        start = time.perf_counter()
        for label in LABELS:
            distances = surface_distance.compute_surface_distances(*(array == label for array in maps), SPACING[::-1])
            sums, areas = 0.0, 0.0
            for way in ("gt_to_pred", "pred_to_gt"):
                areas_of = distances["surfel_areas_" + ("gt" if way.startswith("gt") else "pred")]
                sums, areas = sums + (distances[f"distances_{way}"] * areas_of).sum(), areas + areas_of.sum()
            measured[path.name][label] = {
                "NSD": float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance)),
                "HD95": float(surface_distance.compute_robust_hausdorff(distances, 95)),
                "ASSD": float(sums / areas),
            }
        seconds += time.perf_counter() - start
    print(f"seconds {seconds:.4f}")
    (root / "surfaces.json").write_text(json.dumps(measured))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder, cases, size]:
            make(Path(folder), int(cases), int(size))
        case ["overlap", folder]:
            overlap(Path(folder))
        case ["surfaces", folder, tolerance]:
            surfaces(Path(folder), float(tolerance))
        case _:
            sys.exit(__doc__)
