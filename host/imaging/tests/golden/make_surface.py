"""Golden numbers of DeepMind's surface-distance 0.1 (PyPI): writes surface.json beside this file, or random cases to a file.

    pip install --target /tmp/surface-pkgs --no-deps surface-distance
    PYTHONPATH=/tmp/surface-pkgs python make_surface.py [FILE CASES]
"""
import json
import sys
from pathlib import Path

import numpy as np

np.Inf = np.inf  # gone from numpy 2, and the package is older
from surface_distance import metrics  # noqa: E402

# The package calls these by a namespace that newer scipy deprecates.
metrics.ndimage.filters, metrics.ndimage.morphology = metrics.ndimage, metrics.ndimage


def package(prediction: np.ndarray, reference: np.ndarray, spacing, tolerance: float) -> list[float]:
    """The numbers of SurfaceMetrics in order, for bool masks; one slice is 2D."""
    volumes = [int(mask.sum()) * float(np.prod(spacing)) for mask in (prediction, reference)]
    if prediction.shape[0] == 1:
        prediction, reference, spacing = prediction[0], reference[0], spacing[1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = metrics.compute_surface_distances(reference, prediction, spacing)
        distances = [found["distances_gt_to_pred"], found["distances_pred_to_gt"]]
        areas = [found["surfel_areas_gt"], found["surfel_areas_pred"]]
        to_prediction, to_reference = metrics.compute_average_surface_distance(found)
        # The package gives both directions alone.
        assd = sum((d * a).sum() for d, a in zip(distances, areas)) / sum(a.sum() for a in areas)
        hd, hd95 = max((d.max() for d in distances if d.size), default=np.nan), metrics.compute_robust_hausdorff(found, 95)
        for d, a in zip(distances, areas):
            # Where 95 % end between two distances, the rounding of numpy's sums decides which one it is.
            assert not ((abs(a.cumsum() / a.sum() - 0.95) < 1e-9)[:-1] & (d[1:] - d[:-1] > 1e-9)).any(), "95 % end between distances"
        if not volumes[0] and not volumes[1]:
            # Infinite in the package.
            hd95 = np.nan
        nsd = metrics.compute_surface_dice_at_tolerance(found, tolerance)
        relative = np.float64(volumes[0] - volumes[1]) / np.float64(volumes[1])
    return [nsd, hd, hd95, assd, to_reference, to_prediction, volumes[0] - volumes[1], relative]


def runs(labels: np.ndarray) -> list[int]:
    flat = labels.ravel()
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    return np.c_[flat[starts], np.diff(np.r_[starts, flat.size])].ravel().tolist()


def record(name, prediction, reference, spacing, tolerance, values) -> dict:
    prediction, reference = np.asarray(prediction, np.int16), np.asarray(reference, np.int16)
    found = package(np.isin(prediction, values), np.isin(reference, values), spacing, tolerance)
    # As text, which may be inf and nan.
    return {"name": name, "shape": prediction.shape, "spacing": spacing, "tolerance": tolerance, "values": values,
            "prediction": runs(prediction), "reference": runs(reference), "metrics": [repr(float(value)) for value in found]}


def ball(shape, centre, radius, spacing=(1, 1, 1)) -> np.ndarray:
    grid = np.meshgrid(*(np.arange(size) * step for size, step in zip(shape, spacing)), indexing="ij")
    return sum((axis - at) ** 2 for axis, at in zip(grid, centre)) <= radius**2


def codes(mask: np.ndarray) -> set[int]:
    padded = np.pad(mask.astype(np.uint8), 1)
    kernel = metrics.lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL
    return set(metrics.ndimage.correlate(padded, kernel, mode="constant").ravel().tolist())


def cases():
    random = np.random.default_rng(0)
    one, uneven = (1.0, 1.0, 1.0), (3.0, 0.8, 0.7)
    a, b = ball((20, 24, 22), (9, 12, 10), 7.5), ball((20, 24, 22), (10, 11, 12), 6.5)
    yield "balls", a, b, one, 1.0, [1]
    yield "balls, uneven spacing", ball((12, 30, 28), (18, 12, 10), 8, uneven), ball((12, 30, 28), (15, 11, 9), 7, uneven), uneven, 2.0, [1]
    yield "equal", a, a, uneven, 0.5, [1]
    yield "tolerance 0", a, b, uneven, 0.0, [1]
    yield "tolerance above all distances", a, b, uneven, 1000.0, [1]
    yield "at the border", ball((10, 12, 14), (0, 0, 0), 6), ball((10, 12, 14), (9, 11, 13), 9), uneven, 3.0, [1]
    yield "everything", np.ones((4, 5, 6)), ball((4, 5, 6), (2, 2, 2), 2), (1.5, 0.9, 1.1), 1.0, [1]

    point, other, far = (np.zeros((6, 7, 8), bool) for _ in range(3))
    point[2, 3, 4], other[2, 3, 5], far[0, 6, 7] = True, True, True
    yield "one voxel", point, point, uneven, 1.0, [1]
    yield "one voxel beside", point, other, uneven, 0.7, [1]
    yield "one voxel in a corner", point, far, uneven, 1.0, [1]
    yield "empty", point * 0, point * 0, uneven, 1.0, [1]
    yield "empty prediction", point * 0, point, uneven, 1.0, [1]
    yield "empty reference", a, a * 0, uneven, 1.0, [1]
    yield "no values", a, b, uneven, 1.0, []

    several = a | ball(a.shape, (1, 1, 1), 1.5) | ball(a.shape, (18, 22, 20), 2)
    yield "several components", several, b | ball(a.shape, (2, 21, 2), 2), (2.5, 1.25, 1.25), 2.5, [1]
    yield "hollow", a & ~ball(a.shape, (9, 12, 10), 5), b & ~ball(a.shape, (10, 11, 12), 3), one, 1.0, [1]

    seen = set()
    for density, spacing in [(0.5, one), (0.4, uneven), (0.65, (0.9, 2.2, 1.3)), (0.08, (0.6, 1.7, 1.1))]:
        noise = random.random((2, 11, 12, 13)) < density
        seen |= codes(noise[0]) | codes(noise[1])
        yield f"noise of density {density}", *noise, spacing, 1.1, [1]
    assert seen == set(range(256))

    # Steps that are as long as the tolerance, but for rounding.
    for step, tolerance in [(0.7, 2.1), (0.7, 3.5), (1.1, 5.5), (float(np.float32(0.8)), 1.6)]:
        sparse = random.random((2, 9, 14, 15)) < 0.006
        yield f"{tolerance} by {step}", *sparse, (step,) * 3, tolerance, [1]

    organs = [a * 1 + (b & ~a) * 2 + ball(a.shape, (4, 5, 5), 3) * 3, b * 1 + (a & ~b) * 2 - ball(a.shape, (4, 5, 6), 3) * 1]
    for values in [[0], [1], [2], [1, 2], [2, 3, -1, 2], [9]]:
        yield f"labels {values}", *organs, uneven, 1.5, values

    disc, shifted = ball((1, 30, 34), (0, 14, 15), 10), ball((1, 30, 34), (0, 16, 13), 8)
    yield "2D", disc, shifted, (5.0, 1.0, 1.0), 1.0, [1]
    yield "2D, uneven spacing", disc, shifted, (5.0, 0.7, 1.9), 1.9, [1]
    yield "2D at the border", ball((1, 12, 13), (0, 0, 0), 8), ball((1, 12, 13), (0, 11, 12), 8), (5.0, 0.7, 1.9), 1.0, [1]
    yield "2D noise", *(random.random((2, 1, 20, 21)) < 0.5), (5.0, 0.7, 1.9), 0.7, [1]
    yield "2D, one pixel", *(random.random((2, 1, 20, 21)) < 0.003), (5.0, 0.7, 1.9), 0.7, [1]
    yield "2D, empty", disc * 0, disc * 0, (5.0, 0.7, 1.9), 1.0, [1]
    yield "2D, empty prediction", disc * 0, disc, (5.0, 0.7, 1.9), 1.0, [1]
    yield "2D, a line", *(random.random((2, 1, 1, 40)) < 0.5), (5.0, 0.7, 1.9), 1.9, [1]
    yield "3D, a plane", *(random.random((2, 9, 1, 10)) < 0.5), uneven, 0.7, [1]


def random_cases(count: int):
    """For a comparison beyond the golden file."""
    random = np.random.default_rng(1)
    steps = [0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 2.5, float(np.float32(0.7)), float(np.float32(0.8)), 0.7421875]
    for i in range(count):
        shape = random.integers(1, [8, 16, 16])
        spacing = tuple(random.choice(steps, 3).tolist()) if i % 2 else (float(random.choice(steps)),) * 3
        if i % 5:
            fields = metrics.ndimage.gaussian_filter(random.normal(size=(2, *shape)), (0, 1, 1, 1))
            masks = fields > random.normal() * fields.std()
        else:
            masks = random.random((2, *shape)) < random.random() ** 3
        # A multiple of a step, so that many distances are equal to it but for rounding.
        yield f"random {i}", *masks, spacing, round(float(random.choice(steps[:8]) * random.integers(0, 6)), 9), [1]


def write(file: Path, chosen, skip_ties: bool) -> None:
    records, ties = [], 0
    for case in chosen:
        try:
            records.append(json.dumps(record(*case), separators=(",", ":")))
        except AssertionError:
            if not skip_ties:
                raise
            ties += 1
    file.write_text("[\n" + ",\n".join(records) + "\n]\n")
    print(f"{len(records)} cases, {ties} skipped")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write(Path(sys.argv[1]), random_cases(int(sys.argv[2])), skip_ties=True)
    else:
        write(Path(__file__).with_name("surface.json"), cases(), skip_ties=False)
