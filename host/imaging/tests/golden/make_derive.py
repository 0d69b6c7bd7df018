"""Writes derive.json: distances by scipy, boundaries and skeletons by scikit-image, of small label maps.

Run with the peer's Python (scipy 1.17.1, scikit-image 0.26.0):  python make_derive.py

Labels are runs [value, length, value, length, ...] in C order. Boundaries and skeletons are lengths of runs, the first of zeros.
Distances are those of every STEP-th voxel, null where there is no border.
"""

import json
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.morphology import skeletonize
from skimage.segmentation import find_boundaries

STEP = 19  # shares no factor with the shapes
OUTSIDE = -1
random = np.random.default_rng(0)


def blobs(shape, sigma, thresholds):
    """Label i where a smooth random field lies above the i-th threshold, in standard deviations."""
    field = gaussian_filter(random.normal(size=shape), [0 if n == 1 else sigma for n in shape])
    return np.digitize(field / field.std(), thresholds)


def tubes(shape, points, branches, radius):
    """Label i + 1 along the i-th branch, given as the indices of the points that it joins."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    labels = np.zeros(shape, int)
    for i, (start, end) in enumerate(branches):
        a, b = np.array(points[start], float), np.array(points[end], float)
        along = np.clip(((grid - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
        distance = np.linalg.norm(grid - a - along[..., None] * (b - a), axis=-1)
        labels[distance <= radius] = i + 1
    return labels


def with_corner(labels):
    labels[:3, :6, :9] = OUTSIDE
    return labels


def runs(values):
    flat = np.asarray(values).ravel()
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    return flat[starts].tolist(), np.diff(np.r_[starts, flat.size]).tolist()


def mask_runs(mask):
    values, lengths = runs(mask.astype(int))
    return lengths if values[0] == 0 else [0, *lengths]


def record(name, labels, spacing):
    foreground = labels > 0
    # scikit-image has two axes for 2D.
    flat = labels[0] if labels.shape[0] == 1 else labels
    boundary = find_boundaries(flat, connectivity=1, mode="inner", background=0).reshape(labels.shape) & foreground
    skeleton = skeletonize(flat > 0, method="lee").astype(bool).reshape(labels.shape)
    distances = None
    if foreground.any() and not foreground.all():
        outside = distance_transform_edt(~foreground, sampling=spacing)
        inside = distance_transform_edt(foreground, sampling=spacing)
        distances = [round(float(d), 5) for d in (outside - inside).ravel()[::STEP]]
    values, lengths = runs(labels)
    return {
        "name": name, "shape": labels.shape, "spacing": spacing, "labels": [n for pair in zip(values, lengths) for n in pair],
        "step": STEP, "distances": distances, "boundary": mask_runs(boundary), "skeleton": mask_runs(skeleton),
    }


records = [
    record("blobs of two labels", blobs((16, 20, 21), 3, [0.5, 1.2]), (1.0, 1.0, 1.0)),
    record("thick slices", blobs((9, 26, 28), 3, [0.7]), (5.0, 0.7, 0.85)),
    record("2D, three labels", blobs((1, 50, 63), 4, [0.3, 0.9, 1.5]), (999.0, 0.6, 0.9)),
    record("a vessel that branches", tubes(
        (25, 30, 28), [(0, 4, 4), (11, 12, 12), (24, 26, 9), (14, 15, 27), (20, 2, 20)], [(0, 1), (1, 2), (1, 3), (1, 4)], 2.4),
        (1.5, 0.8, 0.8)),
    record("2D, a net of lines", tubes(
        (1, 48, 52), [(0, 0, 0), (0, 24, 20), (0, 47, 8), (0, 30, 51), (0, 5, 40)], [(0, 1), (1, 2), (1, 3), (1, 4), (3, 4)], 1.8),
        (1.0, 1.0, 2.0)),
    record("a corner outside of the image", with_corner(blobs((10, 20, 24), 2, [0.0, 1.0])), (2.0, 1.0, 1.0)),
    record("noise", (random.random((12, 13, 14)) < 0.6).astype(int), (1.0, 1.3, 0.4)),
    record("nothing but background", np.zeros((4, 5, 6), int), (1.0, 1.0, 1.0)),
    record("nothing but foreground", np.ones((4, 5, 6), int), (1.0, 1.0, 1.0)),
]
lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in records)
Path(__file__).with_name("derive.json").write_text(f"[\n{lines}\n]\n")
