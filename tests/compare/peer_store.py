"""nnU-Net's side of tests/compare/store: peer_store.py make|write|read FOLDER CASE, or check FOLDER CASE (needs zarr, not nnU-Net).

make   writes an image and its labels as plain numbers, CASE.image.f32 and CASE.labels.i16, with CASE.shape and CASE.origins
write  stores them as nnU-Net does, CASE.b2nd and CASE_seg.b2nd, and prints the CPU seconds of that
read   reads the patches of CASE.origins with nnU-Net's data set, one thread, and prints the seconds of each
check  compares CASE.zarr.zip, read by zarr, with the plain numbers
"""
import sys
import time
from pathlib import Path

import numpy as np

PATCH = (128, 128, 128)
READS = 200
SHAPES = {"ct": (120, 512, 512), "mr": (192, 256, 224)}


def texture(shape, size, rng):
    """Smooth noise: random numbers on a grid of `size` voxels, linear in between."""
    from scipy import ndimage

    grid = [int(np.ceil(side / size)) + 2 for side in shape]
    zoomed = ndimage.zoom(rng.standard_normal(grid, dtype=np.float32), [s / g for s, g in zip(shape, grid)], order=1)
    return zoomed[tuple(slice(0, side) for side in shape)]


def ct(shape, rng):
    """Body, lungs and bone with a scanner's noise, in whole Hounsfield units; normalised as nnU-Net does and not resampled."""
    from scipy import ndimage

    z, y, x = np.ogrid[tuple(slice(-1, 1, complex(0, side)) for side in shape)]
    radius = np.sqrt((y / 0.72) ** 2 + (x / 0.86) ** 2) + 0.03 * texture(shape, 24, rng)
    body, organs = radius < 1, texture(shape, 40, rng)
    lung = (y / 0.4) ** 2 + ((np.abs(x) - 0.4) / 0.25) ** 2 + (z / 0.9) ** 2 < 1
    bone = ((y - 0.5) / 0.1) ** 2 + (x / 0.12) ** 2 + 0 * z < 1
    image = np.select([lung, bone, radius < 0.95, body], [-800, 500, 50 + 60 * np.round(organs), -90], -1000).astype(np.float32)
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), [0, 0.6, 0.6])
    image = ndimage.gaussian_filter(image, 0.7) + noise * (14 / noise.std())
    image = np.clip(np.round(image), -1024, 3071).astype(np.float32)
    foreground = image[body & ~lung]
    low, high = np.percentile(foreground, [0.5, 99.5])
    image = (np.clip(image, low, high) - foreground.mean()) / foreground.std()
    lesions = texture(shape, 30, rng)
    labels = np.select([lung, bone, body & (lesions > 1.4), body & (lesions > 0.9)], [4, 3, 2, 1], 0)
    return image.astype(np.float32), labels.astype(np.int16)


def mr(shape, rng):
    """A head with Rician noise, resampled with cubic splines after normalisation: hardly two numbers are equal. -1 around it."""
    from scipy import ndimage

    raw = tuple(int(side / 1.25) for side in shape)
    z, y, x = np.ogrid[tuple(slice(-1, 1, complex(0, side)) for side in raw)]
    radius = np.sqrt((z / 0.9) ** 2 + (y / 0.8) ** 2 + (x / 0.7) ** 2) + 0.05 * texture(raw, 16, rng)
    image = np.where(radius < 0.9, 300 + 120 * np.round(texture(raw, 20, rng)), 8)
    image = ndimage.gaussian_filter(image.astype(np.float32), 0.7)
    image = np.round(np.hypot(image + 18 * rng.standard_normal(raw), 18 * rng.standard_normal(raw)))
    image = (image - image.mean()) / image.std()
    scale = [to / of for to, of in zip(shape, raw)]
    labels = np.select([radius > 1, radius < 0.3, radius < 0.5], [-1, 2, 1], 0)
    labels = ndimage.zoom(labels.astype(np.int16), scale, order=0)
    return ndimage.zoom(image, scale, order=3, mode="nearest").astype(np.float32), labels


def make(folder, case):
    shape, rng = SHAPES[case], np.random.default_rng(0)
    image, labels = {"ct": ct, "mr": mr}[case](shape, rng)
    image.tofile(folder / f"{case}.image.f32")
    labels.tofile(folder / f"{case}.labels.i16")
    (folder / f"{case}.shape").write_text(" ".join(map(str, shape)) + "\n")
    origins = [[rng.integers(0, max(0, side - patch) + 1) for side, patch in zip(shape, PATCH)] for _ in range(READS)]
    (folder / f"{case}.origins").write_text("".join(" ".join(map(str, origin)) + "\n" for origin in origins))


def arrays(folder, case):
    shape = (1, *map(int, (folder / f"{case}.shape").read_text().split()))
    image = np.fromfile(folder / f"{case}.image.f32", np.float32).reshape(shape)
    return image, np.fromfile(folder / f"{case}.labels.i16", np.int16).reshape(shape)


def write(folder, case):
    """As DefaultPreprocessor.run_case_save does."""
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    image, labels = arrays(folder, case)
    labels = labels.astype(np.int8)
    blocks, chunks = comp_blosc2_params(image.shape, PATCH, image.itemsize)
    blocks_seg, chunks_seg = comp_blosc2_params(labels.shape, PATCH, labels.itemsize)
    start = time.perf_counter()
    nnUNetDatasetBlosc2.save_case(image, labels, {}, str(folder / case), chunks, blocks, chunks_seg, blocks_seg)
    print("write", time.perf_counter() - start)


def read(folder, case):
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    data_set = nnUNetDatasetBlosc2(str(folder), [case])
    image, labels, _, _ = data_set.load_case(case)
    for line in (folder / f"{case}.origins").read_text().splitlines():
        start = time.perf_counter()
        data_set.load_case(case)
        print("open", time.perf_counter() - start)
        box = (slice(None), *(slice(lower, min(lower + patch, side)) for lower, patch, side in zip(map(int, line.split()), PATCH, image.shape[1:])))
        for name, array in (("image", image), ("labels", labels)):
            start = time.perf_counter()
            array[box]
            print(name, time.perf_counter() - start)


def check(folder, case):
    import zarr

    group = zarr.open_group(zarr.storage.ZipStore(folder / f"{case}.zarr.zip", mode="r"), mode="r")
    for name, expected in zip(("image", "labels/segmentation"), arrays(folder, case)):
        found = group[name][:]
        if found.dtype.kind != expected.dtype.kind or not np.array_equal(found, expected):
            sys.exit(f"peer_store: zarr reads {name} of {case} otherwise than it was written")


if __name__ == "__main__":
    command, folder, case = sys.argv[1:]
    {"make": make, "write": write, "read": read, "check": check}[command](Path(folder), case)
