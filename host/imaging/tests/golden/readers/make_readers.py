"""Golden data of tests/readers.rs: NIfTI files with odd headers and in every orientation, and what each of nnU-Net's readers makes of them.

readers.json has for each file its bytes (zlib, then hexadecimal) and for each reader that opens it: shape (z, y, x), spacing, the float32
array, and the file that the reader writes for the array that it has read, as the array and affine matrix that nibabel finds in that file.

    PEER_VENV/bin/python make_readers.py      (nnunetv2 2.8.1, SimpleITK 2.5.7, nibabel 5.4.2)
"""

import contextlib
import io
import itertools
import json
import logging
import os
import struct
import tempfile
import warnings
import zlib
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO, SimpleITKIOWithReorient

READERS = [SimpleITKIO, SimpleITKIOWithReorient, NibabelIO, NibabelIOWithReorient]
SHAPE = (3, 4, 5)
ZOOMS = [1.5, 2.0, 2.5]
SHEARED = np.array([[1.5, 0.3, 0, 1], [0, 2, 0, 2], [0, 0, 2.5, 3], [0, 0, 0, 1]])


def plain(dtype=np.int16, affine=np.diag([*ZOOMS, 1]), shape=SHAPE, codes=(1, 1)):
    data = np.arange(np.prod(shape)).reshape(shape, order="F").astype(dtype)
    image = nibabel.Nifti1Image(data, affine)
    image.set_qform(affine, codes[0])
    image.set_sform(affine, codes[1])
    return bytearray(image.to_bytes())


def put(content, offset, form, *values):
    struct.pack_into("<" + form, content, offset, *values)
    return content


def dims(*values, shape=SHAPE):
    return put(plain(shape=shape), 40, "8h", *values)


def odd_headers():
    nan = float("nan")
    yield "plain", plain()
    yield "mark_of_a_pair", put(plain(), 344, "4s", b"ni1\0")
    yield "no_mark", put(plain(), 344, "4s", b"\0\0\0\0")
    yield "mark_of_version_3", put(plain(), 344, "4s", b"n+3\0")
    yield "no_length", put(plain(), 0, "i", 0)
    for name, values in {"4_of_0": (4, 3, 4, 5, 0, 1, 1, 1), "4_of_minus_1": (4, 3, 4, 5, -1, 1, 1, 1), "4_of_1": (4, 3, 4, 5, 1, 1, 1, 1),
                         "5_of_1": (5, 3, 4, 5, 1, 1, 1, 1), "7_of_1": (7, 3, 4, 5, 1, 1, 1, 1), "unused_0": (3, 3, 4, 5, 0, 0, 0, 0),
                         "unused_negative": (3, 3, 4, 5, -3, -1, 0, 7), "x_negative": (3, -3, 4, 5, 1, 1, 1, 1), "none": (0, 3, 4, 5, 1, 1, 1, 1),
                         "8": (8, 3, 4, 5, 1, 1, 1, 1)}.items():
        yield "dim_" + name, dims(*values)
    yield "dim_z_0", dims(3, 3, 4, 0, 1, 1, 1, 1, shape=(3, 4, 1))
    yield "dim_2", dims(2, 3, 4, 1, 1, 1, 1, 1, shape=(3, 4, 1))
    yield "dim_4_of_2", plain(shape=(3, 4, 5, 2))
    yield "offset_348", put(bytearray(plain()[:348] + plain()[352:]), 108, "f", 348.0)
    for name, value in {"100": 100.0, "negative": -5.0, "nan": nan, "half": 352.5}.items():
        yield "offset_" + name, put(plain(), 108, "f", value)
    yield "bitpix_0", put(plain(), 72, "h", 0)
    yield "pixdim_0", put(plain(), 76, "8f", 1, 0, 2, 2.5, 0, 0, 0, 0)
    yield "pixdim_negative", put(plain(), 76, "8f", 1, -1.5, 2, -2.5, 0, 0, 0, 0)
    yield "pixdim_nan", put(plain(), 76, "8f", 1, nan, 2, 2.5, 0, 0, 0, 0)
    yield "qfac_0", put(plain(), 76, "f", 0.0)
    for name, values in {"slope_0": (0.0, 5.0), "slope_nan": (nan, 5.0), "intercept_nan": (2.0, nan), "slope_tiny": (1e-20, 5.0),
                         "slope_third": (1 / 3, -0.1)}.items():
        yield name, put(plain(), 112, "2f", *values)
    for name, value in {"metre": 1, "micrometre": 3, "unit_4": 4, "unit_0": 0}.items():
        yield name, put(plain(), 123, "B", value)
    for name, shear in {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4, "0.3": 0.3}.items():
        affine = SHEARED.copy()
        affine[0, 1] = shear
        yield "sheared_" + name, put(put(plain(), 252, "2h", 0, 1), 280, "12f", *affine[:3].ravel())
    yield "sheared_with_qform", put(put(plain(), 252, "2h", 1, 1), 280, "12f", *SHEARED[:3].ravel())
    for name, signs in {"ras": (1, 1, 1), "lps": (-1, -1, 1)}.items():
        # The steps that the header lists are not those of the matrix.
        affine = np.diag([*(np.array(signs) * [1, 2, 3]), 1.0])
        yield "steps_of_the_matrix_" + name, put(put(put(plain(), 252, "2h", 0, 1), 280, "12f", *affine[:3].ravel()), 76, "4f", 1, 1.5, 1.5, 1.5)
    yield "matrix_of_zeros", put(put(plain(), 252, "2h", 0, 1), 280, "12f", *[0.0] * 12)
    yield "codes_0", put(plain(), 252, "2h", 0, 0)
    yield "codes_beyond_5", put(plain(), 252, "2h", 9, 7)
    yield "quaternion_too_long", put(put(plain(), 252, "2h", 1, 0), 256, "3f", 0.8, 0.8, 0.8)
    yield "binary", put(plain(), 70, "2h", 1, 1)
    yield "type_0", put(plain(), 70, "2h", 0, 0)
    yield "bytes_after", plain() + b"x" * 100
    yield "big_endian", nibabel.Nifti1Image(np.arange(60).reshape(SHAPE, order="F").astype(">i2"), np.diag([*ZOOMS, 1]), nibabel.Nifti1Header(endianness=">")).to_bytes()
    for order in "<>":
        image = nibabel.Nifti2Image(np.arange(60).reshape(SHAPE, order="F").astype(order + "i2"), np.diag([*ZOOMS, 1]), nibabel.Nifti2Header(endianness=order))
        image.header["scl_slope"], image.header["scl_inter"] = 0.1, 1 / 3
        yield "nifti2_" + ("little" if order == "<" else "big"), image.to_bytes()
    pair = bytearray(image.to_bytes())
    pair[4:12] = b"ni2\0\r\n\x1a\n"
    yield "nifti2_mark_of_a_pair", pair


def orientations():
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product([1, -1], repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = 0
            for axis, (to, sign) in enumerate(zip(axes, signs)):
                affine[to, axis] = sign * ZOOMS[axis]
            affine[:3, 3] = [10, -20, 30]
            yield "".join("RAS"[to] if sign > 0 else "LPI"[to] for to, sign in zip(axes, signs)), plain(np.uint8, affine)
    random = np.random.default_rng(0)
    for number in range(20):
        turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
        affine = np.eye(4)
        affine[:3, :3] = turn * ZOOMS
        affine[:3, 3] = [10, -20, 30]
        yield f"oblique_{number}", plain(np.uint8, affine)
        affine[:3, :3] += random.normal(size=(3, 3)) * 0.4
        yield f"sheared_{number}", put(plain(np.uint8, affine, codes=(0, 1)), 252, "2h", 0, 1)


def bits(array):
    return np.ascontiguousarray(array, np.float32).view(np.uint32).ravel().tolist()


def describe(path, reader):
    try:
        images, properties = reader().read_images((str(path),))
        assert not np.isnan(properties["spacing"]).any()
        written = path.parent / "written.nii"
        reader().write_seg(images[0].astype(np.uint8), str(written), properties)
    except Exception:
        return None
    image = nibabel.load(written)
    voxels = np.asarray(image.dataobj).transpose(2, 1, 0) if image.ndim == 3 else np.asarray(image.dataobj).T[None]
    return {"shape": images.shape, "spacing": [float(s) for s in properties["spacing"]], "bits": bits(images),
            "written": voxels.ravel().tolist(), "affine": image.affine[:3].ravel().tolist()}


def main():
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    golden = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in itertools.chain(odd_headers(), orientations()):
            path = Path(folder) / f"{name}.nii"
            path.write_bytes(content)
            with contextlib.redirect_stdout(io.StringIO()):
                read = {reader.__name__: describe(path, reader) for reader in READERS}
            golden[name] = {"file": zlib.compress(bytes(content), 9).hex(), "read": {reader: found for reader, found in read.items() if found}}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}" for name, entry in golden.items())
    (Path(__file__).parent / "readers.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
