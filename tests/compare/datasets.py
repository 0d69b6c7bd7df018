"""Made-up data sets in nnU-Net's raw format, for `plan`: one for each thing that planning and preprocessing decide or may trip over.

    python datasets.py                      prints their names, which look like Dataset901_Anisotropic
    python datasets.py FOLDER NAME ...      makes FOLDER/NAME for every name

Random numbers are seeded by a data set's number, so that it is the same wherever it is made.
Needs the packages of nnU-Net's environment (README.md). All arrays are (z, y, x), spacings in mm too.
"""
import json
import sys
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK
import tifffile
from scipy.ndimage import gaussian_filter, zoom
from skimage import io


class Maker:
    """A data set that grows case by case."""

    def __init__(self, folder: Path, number: int, ending: str):
        self.rng = np.random.default_rng(number)
        self.folder = folder
        self.ending = ending
        self.cases = 0
        for part in ("imagesTr", "labelsTr"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)

    def image(self, case: str, channel: int = 0) -> Path:
        return self.folder / "imagesTr" / f"{case}_{channel:04d}{self.ending}"

    def labels(self, case: str) -> Path:
        self.cases += 1
        return self.folder / "labelsTr" / f"{case}{self.ending}"

    def finish(self, channels: list, labels: dict, **more) -> None:
        description = {"channel_names": {str(i): name for i, name in enumerate(channels)}, "labels": labels,
                       "numTraining": self.cases, "file_ending": self.ending, **more}
        (self.folder / "dataset.json").write_text(json.dumps(description, indent=4))

    def smooth(self, shape, sigma=2.0) -> np.ndarray:
        """Noise with structures of about `sigma` voxels, mean 0 and deviation 1."""
        noise = gaussian_filter(self.rng.standard_normal(shape), [min(sigma, size / 4) for size in shape])
        return (noise - noise.mean()) / (noise.std() or 1)

    def blobs(self, shape, number: int, radius=(0.1, 0.3)) -> np.ndarray:
        """A label map: ellipsoids of the labels 1 to `number`, later over earlier ones; radii are parts of the shape."""
        grid = np.meshgrid(*(np.linspace(0, 1, size) if size > 1 else np.array([0.5]) for size in shape), indexing="ij")
        labels = np.zeros(shape, np.uint8)
        for label in range(1, number + 1):
            centre, radii = self.rng.uniform(0.25, 0.75, 3), self.rng.uniform(*radius, 3)
            labels[sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radii)) < 1] = label
        return labels

    def ct(self, labels: np.ndarray, noise=20.0) -> np.ndarray:
        """Hounsfield units in which every label has its own grey value."""
        return np.round(labels * 40.0 - 60 + 30 * self.smooth(labels.shape, 4) + noise * self.rng.standard_normal(labels.shape))

    def mri(self, labels: np.ndarray) -> np.ndarray:
        return 300 + 80.0 * labels + 50 * self.smooth(labels.shape) + 10 * self.rng.standard_normal(labels.shape)


# Name to what makes it, in the order in which they are compared.
DATASETS = {}


def dataset(number: int, name: str, ending: str):
    """Registers a function that fills a data set."""

    def register(fill):
        folder = f"Dataset{number:03d}_{name}"
        DATASETS[folder] = lambda root: fill(Maker(root / folder, number, ending))
        return fill

    return register


def turn(degrees: float) -> tuple:
    """Direction matrix of an image that is turned about its last axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (c, -s, 0, s, c, 0, 0, 0, 1)


def save(path: Path, array: np.ndarray, spacing, direction=None, origin=None, compress=True) -> None:
    """Writes any format of SimpleITK; the array may have two or three axes."""
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing([float(size) for size in reversed(spacing)])
    if direction is not None:
        image.SetDirection(direction)
    if origin is not None:
        image.SetOrigin(origin)
    SimpleITK.WriteImage(image, str(path), compress)


def save_nifti(path: Path, array: np.ndarray, spacing, *, dtype=None, slope=None, units="mm", sform=True, big_endian=False) -> None:
    """Writes NIfTI in ways that SimpleITK does not: scaled, in other units, without orientation, with the high byte first."""
    values = np.asarray(array).T
    dtype = dtype or values.dtype
    if slope is None:
        # Otherwise nibabel makes up a slope.
        values = np.round(values).astype(dtype) if np.issubdtype(dtype, np.integer) else values.astype(dtype)
    affine = np.diag([*reversed(spacing[-3:]), 1.0]) if sform else None
    header = nibabel.Nifti1Header(endianness=">" if big_endian else "<")
    header.set_data_dtype(dtype)
    image = nibabel.Nifti1Image(values, affine, header)
    image.header.set_zooms([float(size) for size in reversed(spacing)])
    image.header.set_xyzt_units(units)
    if slope is not None:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, path)


@dataset(901, "Anisotropic", ".nii.gz")
def anisotropic(make: Maker) -> None:
    """CT whose slices are far apart: tenth percentile along z, planes and z resampled apart, anisotropic kernels and strides."""
    for i, z in enumerate([5.0, 5.0, 3.0, 6.0, 5.5, 4.0, 2.0]):
        labels = make.blobs((14 + 2 * i, 80 + 5 * i, 96 - 3 * i), 3)
        spacing = (z, 0.8 - 0.02 * i, 0.8 - 0.02 * i)
        direction = turn(10 * i)
        save(make.image(f"case{i}"), make.ct(labels).astype(np.int16), spacing, direction)
        save(make.labels(f"case{i}"), labels, spacing, direction)
    make.finish(["CT"], {"background": 0, "liver": 1, "spleen": 2, "tumour": 3})


@dataset(902, "Mixed", ".nii.gz")
def mixed(make: Maker) -> None:
    """Two spacings, half of the cases each, and coarse axes in every place; the last one wins, so axes are transposed."""
    swapped = (0, 0, 1, 1, 0, 0, 0, 1, 0)
    flipped = (-1, 0, 0, 0, -1, 0, 0, 0, 1)
    for i in range(8):
        fine = i % 2 == 0
        spacing, shape = ((0.7, 0.7, 1.5), (60, 54, 30)) if fine else ((1.2, 1.2, 3.0), (36, 34, 16))
        order = [(0, 1, 2), (0, 1, 2), (0, 1, 2), (1, 0, 2), (0, 1, 2), (2, 1, 0), (0, 2, 1), (0, 1, 2)][i]
        spacing, shape = [spacing[axis] for axis in order], [shape[axis] + i for axis in order]
        labels = make.blobs(shape, 2)
        direction = [None, swapped, flipped, turn(30)][i % 4]
        save(make.image(f"p{i}"), make.mri(labels).astype(np.float32), spacing, direction, (i, -20.0, 3.5))
        save(make.labels(f"p{i}"), labels, spacing, direction, (i, -20.0, 3.5))
    make.finish(["T1"], {"background": 0, "left": 1, "right": 2})


@dataset(903, "Large", ".nii.gz")
def large(make: Maker) -> None:
    """Images of which a patch covers little: 3d_lowres and the cascade."""
    for i, spacing in enumerate([(1.0, 0.8, 0.8), (1.0, 0.75, 0.75), (1.1, 0.8, 0.8)]):
        shape = (190 + 10 * i, 320, 310 + 10 * i)
        labels = zoom(make.blobs([size // 5 for size in shape], 5), [size / (size // 5) for size in shape], order=0)
        base = zoom(make.smooth([size // 10 for size in shape]), [size / (size // 10) for size in shape], order=1)
        image = np.round(labels * 40.0 - 60 + 40 * base + 4 * make.rng.standard_normal(labels.shape, np.float32))
        save(make.image(f"ct{i}"), image.astype(np.int16), spacing)
        save(make.labels(f"ct{i}"), labels, spacing)
    make.finish(["CT"], {"background": 0, **{f"organ{label}": label for label in range(1, 6)}})


@dataset(904, "Masked", ".nii.gz")
def masked(make: Maker) -> None:
    """Four MRI channels in much empty space: cropped, normalised inside the mask; labels where the image is zero, enclosed zeros."""
    for i in range(5):
        shape = np.array((44 + 2 * i, 50, 48 - i))
        spacing = (1.0, 1.0, 1.0) if i < 3 else (1.1, 0.9, 0.9)
        centre = shape / 2 + (i - 2)
        grid = np.indices(shape)
        inside = sum(((axis - c) / (size * 0.36)) ** 2 for axis, c, size in zip(grid, centre, shape)) < 1
        labels = make.blobs(shape, 3, (0.08, 0.2)) * inside
        hole = sum((axis - c - 3) ** 2 for axis, c in zip(grid, centre)) < 6
        # A label that reaches into the empty space around the head, and one inside the hole.
        outside = (grid[0] > shape[0] * 0.8) & (abs(grid[1] - centre[1]) < 4) & (abs(grid[2] - centre[2]) < 4)
        labels[outside] = 2
        labels[hole & (grid[0] > centre[0] + 3)] = 1
        for channel in range(4):
            # The last channel is empty where the others are not.
            image = make.mri(labels) * inside * ~hole * (1 if channel < 3 else grid[2] > centre[2])
            save(make.image(f"brain{i}", channel), image.astype([np.int16, np.float32, np.uint16, np.float64][channel]), spacing)
        save(make.labels(f"brain{i}"), labels.astype(np.uint8), spacing)
    make.finish(["T1", "T1ce", "T2", "FLAIR"], {"background": 0, "necrosis": 1, "edema": 2, "enhancing": 3})


@dataset(905, "Colours", ".png")
def colours(make: Maker) -> None:
    """Two-dimensional RGB images as PNG, three channels a file."""
    for i in range(6):
        shape = (1, 90 + 12 * i, 120 - 7 * i)
        labels = make.blobs(shape, 2)[0]
        image = np.stack([100 + 50.0 * labels + 25 * make.smooth(shape)[0] for _ in range(3)], -1)
        io.imsave(make.image(f"road{i}"), np.clip(image, 0, 255).astype(np.uint8), check_contrast=False)
        io.imsave(make.labels(f"road{i}"), labels, check_contrast=False)
    make.finish(["rgb_to_0_1"] * 3, {"background": 0, "road": 1, "car": 2})


@dataset(906, "Microscopy", ".tif")
def microscopy(make: Maker) -> None:
    """Two-dimensional grey images as TIFF, compressed or not, one of them with an empty border."""
    for i, compression in enumerate([None, "zlib", "lzw", None, "zlib"]):
        labels = make.blobs((1, 100 + 9 * i, 80 + 4 * i), 2)[0]
        image = 2000 + 500.0 * labels + 300 * make.smooth((1, *labels.shape))[0]
        if i == 3:
            image[:20] = image[:, -15:] = 0
        tifffile.imwrite(make.image(f"cell{i}"), image.astype(np.float32 if i == 4 else np.uint16), compression=compression)
        tifffile.imwrite(make.labels(f"cell{i}"), labels, compression=compression)
    make.finish(["fluorescence"], {"background": 0, "cell": 1, "nucleus": 2})


@dataset(907, "Regions", ".nii.gz")
def regions(make: Maker) -> None:
    """Nested regions with an order in which they are painted."""
    for i in range(5):
        shape = (30 + i, 36, 34)
        spacing = (1.5, 1.0 + 0.05 * i, 1.0)
        labels = make.blobs(shape, 3)
        for channel in range(2):
            save(make.image(f"r{i}", channel), make.mri(labels).astype(np.int16), spacing)
        save(make.labels(f"r{i}"), labels, spacing)
    make.finish(["FLAIR", "T1ce"], {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}, regions_class_order=[1, 2, 3])


@dataset(908, "Ignored", ".nii.gz")
def ignored(make: Maker) -> None:
    """Sparse annotation: an ignore label over most of the image, and one case that is annotated fully."""
    for i in range(5):
        shape = (26, 32 + i, 30)
        spacing = (2.0, 1.2, 1.0 + 0.1 * i)
        labels = make.blobs(shape, 2)
        image = make.mri(labels)
        image[:, :4] = 0
        if i != 2:
            labels[np.arange(shape[0]) % 4 != 0] = 3
        save(make.image(f"s{i}"), image.astype(np.float32), spacing)
        save(make.labels(f"s{i}"), labels, spacing)
    make.finish(["MR"], {"background": 0, "a": 1, "b": 2, "ignore": 3})


@dataset(909, "Odd", ".nii.gz")
def odd(make: Maker) -> None:
    """Whatever else may be in an archive: data types, scaling, units, one slice, tiny or empty images, no foreground."""
    spacing, shape = (3.0, 1.0, 1.0), (20, 40, 38)

    def case(name, shape=shape, spacing=spacing, labels=None, image=None, in_labels=None, **how):
        labels = make.blobs(shape, 2) if labels is None else labels
        image = make.mri(labels) if image is None else image
        save_nifti(make.image(name), image, spacing, **{"dtype": np.float32, **how})
        kept = {key: how[key] for key in ("units", "sform", "big_endian") if key in how}
        save_nifti(make.labels(name), labels, spacing, **{"dtype": np.uint8, **kept, **(in_labels or {})})

    case("int16", dtype=np.int16)
    case("float64", dtype=np.float64, spacing=(2.9, 1.1, 0.9))
    case("scaled", dtype=np.int16, slope=(0.5, -1024.0), spacing=(3.1, 1.0, 1.05))
    case("unsigned", dtype=np.uint16, slope=(2.5, 10.0))
    case("big_endian", big_endian=True, spacing=(3.0, 0.95, 1.0))
    case("micrometres", units="micron", spacing=(3000.0, 1000.0, 1200.0))
    case("no_orientation", sform=False, spacing=(2.5, 1.0, 1.0))
    case("float_labels", in_labels={"dtype": np.float32})
    case("signed_labels", in_labels={"dtype": np.int64}, dtype=np.int32)
    case("one_slice", shape=(1, 40, 38), spacing=(6.0, 1.0, 1.0))
    case("one_thin_slice", shape=(1, 40, 38), spacing=(2.0, 0.8, 0.8))
    case("one_column", shape=(12, 30, 1), spacing=(3.0, 1.2, 1.0))
    case("tiny", shape=(3, 5, 4), spacing=(3.0, 1.1, 1.0))
    case("one_voxel", shape=(1, 1, 1), labels=np.ones((1, 1, 1), np.uint8))
    case("no_foreground", labels=np.zeros(shape, np.uint8))
    case("all_zero", image=np.zeros(shape), labels=np.zeros(shape, np.uint8))
    case("zero_but_labelled", image=np.zeros(shape), spacing=(3.0, 1.1, 1.0))
    case("constant", image=np.full(shape, 7.0), spacing=(3.0, 1.1, 1.0))
    case("negative", image=-make.mri(np.zeros(shape)))
    make.finish(["MRI"], {"background": 0, "a": 1, "b": 2})


@dataset(910, "Nrrd", ".nrrd")
def nrrd(make: Maker) -> None:
    """NRRD, compressed or not, with directions and several number types."""
    for i, kind in enumerate([np.int16, np.float32, np.uint8, np.float64, np.uint16]):
        labels = make.blobs((18 + i, 30, 28 + i), 2)
        spacing = (2.0 + 0.1 * i, 1.0, 1.0)
        image = np.clip(make.mri(labels) / 3, 0, 255).astype(kind)
        save(make.image(f"n{i}"), image, spacing, turn(15 * i), (1.5, i, 0), i % 2 == 0)
        save(make.labels(f"n{i}"), labels, spacing, turn(15 * i), (1.5, i, 0), i % 2 == 1)
    make.finish(["MRI"], {"background": 0, "a": 1, "b": 2})


@dataset(911, "MetaImage", ".mha")
def metaimage(make: Maker) -> None:
    """MetaImage, compressed or not, two channels; coarse along x, so axes are transposed."""
    for i, kind in enumerate([np.int16, np.float32, np.uint8, np.float64, np.int32]):
        labels = make.blobs((40, 30 + i, 8 + i), 2)
        spacing = (1.0, 1.0 + 0.1 * i, 4.0)
        for channel in range(2):
            image = np.clip(make.mri(labels) / 3, 0, 255).astype(kind)
            save(make.image(f"m{i}", channel), image, spacing, turn(15 * i), None, i % 2 == channel)
        save(make.labels(f"m{i}"), labels, spacing, turn(15 * i))
    make.finish(["T1", "CT"], {"background": 0, "a": 1, "b": 2})


@dataset(912, "Stacks", ".tif")
def stacks(make: Maker) -> None:
    """Three-dimensional TIFF: spacing in a JSON file beside it, 1 mm without."""
    for i, compression in enumerate([None, "zlib", "lzw", None, "zlib"]):
        case = f"stack{i}"
        labels = make.blobs((12 + i, 40, 36 + i), 2)
        tifffile.imwrite(make.image(case), make.mri(labels).astype([np.uint16, np.float32][i % 2]), compression=compression)
        tifffile.imwrite(make.labels(case), labels, compression=compression)
        if i != 3:
            spacing = json.dumps({"spacing": [2.0 + 0.2 * i, 0.9, 0.9]})
            for part in ("imagesTr", "labelsTr"):
                (make.folder / part / f"{case}.json").write_text(spacing)
    make.finish(["electrons"], {"background": 0, "cell": 1, "nucleus": 2})


@dataset(913, "Channels", ".nii.gz")
def channels(make: Maker) -> None:
    """Eight channels with every normalisation that a name can ask for."""
    names = ["nonorm", "rescale_to_0_1", "zscore", "CT", "rgb_to_0_1", "T1", "NoNorm", "ct"]
    for i in range(5):
        labels = make.blobs((22, 30 + i, 28), 2)
        spacing = (1.6, 1.0, 1.0 + 0.08 * i)
        for channel, name in enumerate(names):
            image = make.ct(labels) + channel if name.lower() != "rgb_to_0_1" else np.clip(make.mri(labels) / 4, 0, 255)
            if i == 4 and channel == 1:
                image[:] = 12
            image[:, :3] = image[:1] = 0
            save(make.image(f"c{i}", channel), image.astype(np.float32), spacing)
        save(make.labels(f"c{i}"), labels, spacing)
    make.finish(names, {"background": 0, "a": 1, "b": 2})


@dataset(914, "Flat", ".nii.gz")
def flat(make: Maker) -> None:
    """NIfTI with two axes only."""
    for i in range(5):
        labels = make.blobs((1, 60 + 5 * i, 70), 2)[0]
        spacing = (0.5 + 0.05 * i, 0.6)
        save(make.image(f"f{i}"), make.mri(labels[None])[0].astype(np.float32), spacing)
        save(make.labels(f"f{i}"), labels, spacing)
    make.finish(["ultrasound"], {"background": 0, "a": 1, "b": 2})


@dataset(915, "Listed", ".nii")
def listed(make: Maker) -> None:
    """Files that dataset.json lists, in no order, as .nii; the channels under their old key, one case without foreground."""
    cases = {}
    for i, case in enumerate(["zebra", "ant", "mouse", "bear", "cat", "10", "9"]):
        labels = make.blobs((16 + i, 30, 26 + i), 2) * (case != "bear")
        spacing = (2.0, 1.0 + 0.1 * i, 1.0)
        save_nifti(make.image(case), make.mri(labels), spacing, dtype=np.float32 if i % 2 else np.int16)
        save_nifti(make.labels(case), labels.astype(np.uint8), spacing)
        cases[case] = {"images": [f"imagesTr/{case}_0000.nii"], "label": f"labelsTr/{case}.nii"}
    make.finish([], {"background": 0, "b": 2, "a": 1}, dataset=cases)
    path = make.folder / "dataset.json"
    description = json.loads(path.read_text())
    del description["channel_names"]
    path.write_text(json.dumps({"modality": {"0": "CT"}, **description}, indent=4))


@dataset(916, "Packed", ".nii.gz")
def packed(make: Maker) -> None:
    """Two channels in one NIfTI of four axes."""
    for i in range(5):
        labels = make.blobs((15, 30, 28 + i), 2)
        spacing = (3.3, 1.0, 1.0 + 0.05 * i)
        both = np.stack([make.mri(labels), make.ct(labels)])
        save_nifti(make.image(f"d{i}"), both, (1.0, *spacing), dtype=np.float32)
        save_nifti(make.labels(f"d{i}"), labels, spacing)
    make.finish(["T1", "T2"], {"background": 0, "a": 1, "b": 2})


@dataset(950, "Timing", ".nii.gz")
def timing(make: Maker) -> None:
    """What `plan-ct` is measured on: three CT volumes of 512 x 512 x 120 voxels."""
    shape = (120, 512, 512)
    for i in range(3):
        spacing = (2.5 + 0.5 * i, 0.8, 0.8)
        labels = zoom(make.blobs([size // 8 for size in shape], 8), 8, order=0)
        base = zoom(make.smooth([size // 8 for size in shape]), 8, order=1)
        noise = 12 * make.rng.standard_normal(shape, np.float32)
        image = np.round(labels * 25.0 - 100 + 60 * base + noise)
        y, x = np.mgrid[:512, :512]
        image[:, (y - 256) ** 2 + (x - 256) ** 2 > 230**2] = -1000
        save(make.image(f"ct{i}"), image.astype(np.int16), spacing)
        save(make.labels(f"ct{i}"), labels, spacing)
    make.finish(["CT"], {"background": 0, **{f"organ{label}": label for label in range(1, 9)}})


def main() -> None:
    if len(sys.argv) == 1:
        print("\n".join(DATASETS))
    for name in sys.argv[2:]:
        DATASETS[name](Path(sys.argv[1]))


if __name__ == "__main__":
    main()
