"""Golden data of tests/io.rs: tiny files of every format, and what nnU-Net makes of them.

Each file is read as nnU-Net would read it: by the first reader of its registry that takes the ending and can read the file. What it gives
(shape and values of the float32 array, spacing, and where the reader knows them, origin and direction in ITK's frame) goes into io.json;
files that no reader takes are left out there and listed under "refused".

    PEER_VENV/bin/python make_io.py      (nnunetv2 2.8.1, SimpleITK 2.5.7, nibabel 5.4.2, tifffile 2026.3.3, imageio 2.38.1, pillow 13.0.0)
"""

import contextlib
import gzip
import io
import itertools
import json
import os
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
import tifffile
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_file_ending
from PIL import Image

HERE = Path(__file__).parent
FILES = HERE / "files"
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])  # a rotation


def values(dtype, shape=(2, 3, 4)):
    """The type's extremes, then small numbers."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    if dtype.kind == "f":
        data = np.linspace(-3, 4, count).astype(dtype)
        data[:4] = [0.1, 16777217.0, 1e-3, -0.0]
    else:
        info = np.iinfo(dtype)
        data = (np.arange(count) * 3).astype(dtype)
        data[:3] = [info.min, info.max, info.max // 3]
    return data.reshape(shape)


def nifti(name, data, zooms=(1, 0.5, 0.75, 2.5), order="<", compress=None, extension=b"", **fields):
    """`data` is (z, y, x) or (t, z, y, x)."""
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape[::-1])
    header["pixdim"][: len(zooms)] = zooms
    header["vox_offset"] = 352 + len(extension)
    header["magic"] = b"n+1"
    header["xyzt_units"] = 2
    header["scl_slope"], header["scl_inter"] = 1, 0
    for key, value in fields.items():
        header[key] = value
    content = header.binaryblock + (b"\1\0\0\0" if extension else b"\0\0\0\0") + extension + data.astype(data.dtype.newbyteorder(order)).tobytes()
    if name.endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    (FILES / name).write_bytes(content)


def nifti_files():
    for dtype, order in itertools.product(TYPES, "<>"):
        nifti(f"{dtype}_{'little' if order == '<' else 'big'}.nii", values(dtype), order=order, sform_code=1,
              srow_x=[0.5, 0, 0, -3], srow_y=[0, 0.75, 0, 4], srow_z=[0, 0, 2.5, 5])
        nifti(f"{dtype}_{'little' if order == '<' else 'big'}.nii.gz", values(dtype), order=order, qform_code=1, quatern_b=0.6, qoffset_x=-12.5)
        for ending in ["nii", "nii.gz"]:
            if order == "<":
                nifti(f"{dtype}_scaled.{ending}", values(dtype), qform_code=1, scl_slope=0.1, scl_inter=-7.3)
    data = values("int16")
    for ending in ["nii", "nii.gz"]:
        def make(name, data=data, **fields):
            nifti(f"{name}.{ending}", data, **fields)
        make("scaled_without_codes", scl_slope=0.1, scl_inter=3)
        make("intercept_only", qform_code=1, scl_slope=1, scl_inter=3)
        make("slope_zero", qform_code=1, scl_slope=0, scl_inter=3)
        make("slope_nan", qform_code=1, scl_slope=np.nan, scl_inter=np.nan)
        make("slope_negative", qform_code=1, scl_slope=-2, scl_inter=0.5)
        make("slope_tiny", qform_code=1, scl_slope=1e-17, scl_inter=0.5)
        make("extension", qform_code=1, extension=struct.pack("<ii", 32, 6) + b"x" * 24)
        make("none")
        make("one_slice", data=values("int16", (1, 3, 4)), qform_code=1)
        make("metres", qform_code=1, xyzt_units=1, zooms=(1, 5e-4, 75e-5, 25e-4), qoffset_x=0.03)
        make("microns", qform_code=1, xyzt_units=3, zooms=(1, 500, 750, 2500), qoffset_x=30)
        make("negative_pixdim", qform_code=1, zooms=(1, -0.5, 0.75, -2.5))
        make("zero_pixdim", qform_code=1, zooms=(1, 0.5, 0, 2.5))
        make("qform", qform_code=1, zooms=(-1, 0.5, 0.75, 2.5), quatern_b=0.1, quatern_c=-0.2, quatern_d=0.3, qoffset_x=1, qoffset_y=2, qoffset_z=3)
        make("qform_half_turn", qform_code=1, quatern_b=0.6, quatern_c=-0.8, quatern_d=1e-4, qoffset_y=2)
        turned = TURN * [0.5, 0.75, 2.5]
        rows = {f"srow_{axis}": [*turned[i], 7 + i] for i, axis in enumerate("xyz")}
        make("sform", sform_code=2, **rows)
        make("sform_flipped", sform_code=1, srow_x=[-0.5, 0, 0, 9], srow_y=[0, -0.75, 0, 8], srow_z=[0, 0, -2.5, 7])
        make("sform_permuted", sform_code=1, srow_x=[0, 0, 2.5, 9], srow_y=[0.5, 0, 0, 8], srow_z=[0, -0.75, 0, 7])
        make("sform_other_scale", sform_code=1, srow_x=[3, 0, 0, 9], srow_y=[0, 4, 0, 8], srow_z=[0, 0, 5, 7])
        make("sform_scanner_beats_qform", sform_code=1, qform_code=1, quatern_b=0.6, **rows)
        make("qform_beats_sform", sform_code=2, qform_code=1, quatern_b=0.6, **rows)
        skewed = dict(srow_x=[0.5, 0.3, 0, 9], srow_y=[0, 0.75, 0, 8], srow_z=[0, 0.1, 2.5, 7])
        make("sform_skewed", sform_code=1, **skewed)
        make("sform_skewed_and_qform", sform_code=1, qform_code=1, quatern_b=0.6, **skewed)
    nifti("two_dimensions.nii.gz", values("int16", (3, 4)), zooms=(1, 0.5, 0.75), qform_code=1, qoffset_x=4)
    nifti("four_dimensions.nii.gz", values("int16", (2, 2, 3, 4)), zooms=(1, 0.5, 0.75, 2.5, 7), qform_code=1)
    nifti("one_channel.nii.gz", values("int16", (1, 2, 3, 4)), zooms=(1, 0.5, 0.75, 2.5, 7), qform_code=1)


def sitk_image(data, spacing=(0.5, 0.75, 2.5), origin=(1.25, -2.5, 1 / 3), direction=TURN):
    image = sitk.GetImageFromArray(data, isVector=False)
    n = data.ndim
    image.SetSpacing([*spacing, 7.0][:n])
    image.SetOrigin([*origin, 0.0][:n])
    if n == 3:
        image.SetDirection(direction.ravel().tolist())
    return image


def sitk_files():
    for dtype, ending, compressed in itertools.product(TYPES, ["nrrd", "mha"], [False, True]):
        sitk.WriteImage(sitk_image(values(dtype)), FILES / f"{dtype}{'_compressed' if compressed else ''}.{ending}", compressed)
    for ending in ["nrrd", "mha"]:
        plane = sitk_image(values("int16", (3, 4)))
        plane.SetDirection([0.6, -0.8, 0.8, 0.6])
        sitk.WriteImage(plane, FILES / f"two_dimensions.{ending}")
        sitk.WriteImage(sitk_image(values("int16", (1, 3, 4))), FILES / f"one_slice.{ending}")
        sitk.WriteImage(sitk_image(values("int16", (2, 2, 3, 4))), FILES / f"four_dimensions.{ending}")
    for dtype in ["uint8", "int16", "uint16", "float32", "float64"]:
        sitk.WriteImage(sitk_image(values(dtype), direction=np.eye(3)), FILES / f"{dtype}.gipl")
    sitk.WriteImage(sitk_image(values("int16", (3, 4))), FILES / "two_dimensions.gipl")


def nrrd(name, fields, content, newline="\n"):
    text = newline.join(["NRRD0005", "# made by hand", *fields, "key:=a value", "", ""])
    (FILES / f"{name}.nrrd").write_bytes(text.encode() + content)


def nrrd_files():
    data = values("int16")
    base = ["type: short", "dimension: 3", "sizes: 4 3 2"]
    raw = data.tobytes()
    little = [*base, "endian: little"]
    rows = ["(0.5,0,0)", "(0,0.75,0)", "(0,0,2.5)"]
    space = ["space directions: " + " ".join(rows), "space origin: (1,2,3)"]
    turned = " ".join("(" + ",".join(repr(float(v)) for v in TURN[:, i] * s) + ")" for i, s in enumerate([0.5, 0.75, 2.5]))
    text = " ".join(map(str, data.ravel())).replace(" 0 ", "\n0 ").encode()
    for encoding in ["ascii", "text", "txt"]:
        nrrd(f"encoding_{encoding}", [*base, f"encoding: {encoding}"], text)
    nrrd("encoding_ascii_float", ["type: float", "dimension: 3", "sizes: 4 3 2", "encoding: ascii"],
         " ".join(map(repr, values("float32").ravel().tolist())).encode())
    nrrd("encoding_ascii_uchar", ["type: uchar", "dimension: 3", "sizes: 4 3 2", "encoding: ascii"],
         b", ".join(str(v).encode() for v in values("uint8").ravel()))
    nrrd("encoding_hex", [*little, "encoding: hex"], raw.hex().encode())
    nrrd("encoding_gz", [*little, "encoding: gz"], gzip.compress(raw, mtime=0))
    nrrd("big_endian", [*base, "endian: big", "encoding: raw"], data.astype(">i2").tobytes())
    for code, words in [("LPS", "left-posterior-superior"), ("RAS", "right-anterior-superior"), ("LAS", "left-anterior-superior")]:
        nrrd(f"space_{code}", [*little, "encoding: raw", f"space: {code}", *space], raw)
        nrrd(f"space_{code}_words", [*little, "encoding: raw", f"space: {words}", "space directions: " + turned, "space origin: (1,2,3)"], raw)
    nrrd("space_scanner", [*little, "encoding: raw", "space: scanner-xyz", *space], raw)
    nrrd("space_dimension", [*little, "encoding: raw", "space dimension: 3", *space], raw)
    nrrd("space_without_origin", [*little, "encoding: raw", "space: RAS", space[0]], raw)
    nrrd("spacings", [*little, "encoding: raw", "spacings: 0.5 0.75 2.5"], raw)
    nrrd("spacings_nan", [*little, "encoding: raw", "spacings: 0.5 nan 2.5"], raw)
    nrrd("spacings_negative", [*little, "encoding: raw", "spacings: 0.5 -0.75 2.5"], raw)
    nrrd("axis_mins", [*little, "encoding: raw", "spacings: 0.5 0.75 2.5", "axis mins: 1 2 3"], raw)
    nrrd("axis_mins_node", [*little, "encoding: raw", "spacings: 0.5 0.75 2.5", "axis mins: 1 2 3", "centers: node node node"], raw)
    nrrd("axis_mins_maxs", [*little, "encoding: raw", "axis mins: 1 2 3", "axis maxs: 3 8 13"], raw)
    nrrd("nothing", [*little, "encoding: raw"], raw)
    nrrd("carriage_returns", [*little, "encoding: raw", "spacings: 0.5 0.75 2.5"], raw, newline="\r\n")
    nrrd("byte_skip", [*little, "encoding: raw", "byte skip: 5"], b"12345" + raw)
    nrrd("byte_skip_from_end", [*little, "encoding: raw", "byte skip: -1"], b"anything" + raw)
    nrrd("line_skip", [*little, "encoding: raw", "line skip: 2"], b"one\ntwo\n" + raw)
    nrrd("byte_skip_gzip", [*little, "encoding: gzip", "byte skip: 5"], gzip.compress(b"12345" + raw, mtime=0))
    nrrd("line_skip_gzip", [*little, "encoding: gzip", "line skip: 1"], b"one\n" + gzip.compress(raw, mtime=0))
    nrrd("domain_kinds", [*little, "encoding: raw", "kinds: domain domain domain", 'units: "mm" "mm" "mm"', 'labels: "x" "y" "z"'], raw)
    nrrd("four_domains", ["type: int16", "dimension: 4", "sizes: 2 3 2 2", "endian: little", "encoding: raw", "spacings: 0.5 0.75 2.5 7"], raw)
    nrrd("short_names", ["type: signed short int", "dimension: 3", "sizes: 4 3 2", "endian: little", "encoding: raw"], raw)


def mha(name, fields, content, newline="\n"):
    lines = ["ObjectType = Image", *fields, "ElementDataFile = LOCAL", ""]
    (FILES / f"{name}.mha").write_bytes(newline.join(lines).encode() + content)


def mha_files():
    data = values("int16")
    raw = data.tobytes()
    base = ["NDims = 3", "DimSize = 4 3 2", "ElementType = MET_SHORT"]
    binary = [*base, "BinaryData = True", "BinaryDataByteOrderMSB = False"]
    mha("big_endian", [*base, "BinaryData = True", "BinaryDataByteOrderMSB = True", "ElementSpacing = 0.5 0.75 2.5"], data.astype(">i2").tobytes())
    mha("element_order", [*base, "BinaryData = True", "ElementByteOrderMSB = True"], data.astype(">i2").tobytes())
    mha("element_size", [*binary, "ElementSize = 0.5 0.75 2.5"], raw)
    mha("size_and_spacing", [*binary, "ElementSize = 1 1 1", "ElementSpacing = 0.5 0.75 2.5"], raw)
    mha("position", [*binary, "Position = 1 2 3", "Orientation = 0 1 0 1 0 0 0 0 -1"], raw)
    mha("origin", [*binary, "Origin = 1 2 3", "Rotation = 0 1 0 1 0 0 0 0 -1"], raw)
    mha("offset", [*binary, "Offset = 1 2 3", "TransformMatrix = 0 1 0 1 0 0 0 0 -1", "CenterOfRotation = 0 0 0", "AnatomicalOrientation = RAI"], raw)
    mha("negative_spacing", [*binary, "ElementSpacing = -0.5 0.75 2.5"], raw)
    mha("intensity_function", [*binary, "ElementToIntensityFunctionSlope = 2", "ElementToIntensityFunctionOffset = 5"], raw)
    mha("min_max", [*binary, "ElementMin = 0", "ElementMax = 10"], raw)
    mha("carriage_returns", binary, raw, newline="\r\n")
    for name, packed in [("zlib_stream", zlib.compress(raw)), ("gzip_stream", gzip.compress(raw, mtime=0))]:
        mha(name, [*binary, "CompressedData = True", f"CompressedDataSize = {len(packed)}"], packed)
    mha("other_separator", [line.replace(" = ", ": ") for line in binary], raw)
    mha("long", ["NDims = 3", "DimSize = 4 3 2", "ElementType = MET_LONG", "BinaryData = True", "BinaryDataByteOrderMSB = False"],
        values("int32").tobytes())
    mha("one_channel", [*binary, "ElementNumberOfChannels = 1"], raw)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(name, bits, colour, rows, width, *extra):
    """A PNG without filters. `rows` are packed."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    for kind, data in extra:
        content += png_chunk(kind, data)
    content += png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + png_chunk(b"IEND", b"")
    (FILES / f"{name}.png").write_bytes(content)


def png_files():
    rng = np.random.RandomState(1)
    grey = rng.randint(0, 256, (3, 5)).astype(np.uint8)
    colour = rng.randint(0, 256, (3, 5, 4)).astype(np.uint8)
    deep = rng.randint(0, 65536, (3, 5, 4)).astype(">u2")
    Image.fromarray(grey).save(FILES / "grey.png")
    Image.fromarray(grey).save(FILES / "grey.bmp")
    Image.fromarray(grey).quantize(4).save(FILES / "palette_optimised.png", optimize=True)
    for name, image in [("rgb", colour[..., :3]), ("rgba", colour)]:
        Image.fromarray(image.copy()).save(FILES / f"{name}.png")
        Image.fromarray(image.copy()).save(FILES / f"{name}.bmp")
    Image.fromarray(colour[..., :3].copy()).quantize(8).save(FILES / "palette.bmp")
    Image.fromarray(grey > 128).save(FILES / "bits_1.bmp")
    rows = lambda array: [row.tobytes() for row in array]
    png("grey_16", 16, 0, rows(deep[..., 0]), 5)
    png("grey_alpha", 8, 4, 2 * rows(colour[..., :2]), 5)
    png("grey_alpha_16", 16, 4, rows(deep[..., :2]), 5)
    png("rgb_16", 16, 2, rows(deep[..., :3]), 5)
    png("rgba_16", 16, 6, rows(deep), 5)
    packed = {1: [b"\xa8", b"\x50", b"\xf8"], 2: [b"\x1b\xc0", b"\xe4\x40", b"\x00\x80"], 4: [b"\x01\x7f\xe0", b"\x25\x8a\x30", b"\xff\x00\x90"]}
    table = bytes(range(10, 58))
    for bits, lines in packed.items():
        png(f"grey_bits_{bits}", bits, 0, lines, 5)
        png(f"grey_bits_{bits}_transparent", bits, 0, lines, 5, (b"tRNS", b"\0\1"))
        png(f"palette_bits_{bits}", bits, 3, lines, 5, (b"PLTE", table))
        png(f"palette_bits_{bits}_transparent", bits, 3, lines, 5, (b"PLTE", table), (b"tRNS", b"\x05\x80"))
    png("palette_8", 8, 3, [b"\0\1\2\3\4", b"\x0f\x0e\x0d\x0c\x0b", b"\5\5\5\5\5"], 5, (b"PLTE", table))
    png("palette_grey", 8, 3, [b"\0\1\2\3\4", b"\5\4\3\2\1", b"\5\5\5\5\5"], 5, (b"PLTE", bytes(v for i in range(6) for v in (9 * i,) * 3)))
    png("palette_8_transparent", 8, 3, [b"\0\1\2\3\4", b"\x0f\x0e\x0d\x0c\x0b", b"\5\5\5\5\5"], 5, (b"PLTE", table), (b"tRNS", b"\x05\x80"))
    png("grey_transparent", 8, 0, rows(grey), 5, (b"tRNS", b"\0" + grey[:1, :1].tobytes()))
    png("rgb_transparent", 8, 2, rows(colour[..., :3]), 5, (b"tRNS", b"\0\1\0\2\0\3"))
    png("grey_16_transparent", 16, 0, rows(deep[..., 0]), 5, (b"tRNS", b"\0\1"))
    png("gamma", 8, 0, rows(grey), 5, (b"gAMA", struct.pack(">I", 45455)))


def tiff_files():
    STACK = (2, 5, 6)

    def write(name, data, **options):
        # Else the last axis is taken for colours when it is 3 or 4 long.
        tifffile.imwrite(FILES / name, data, photometric="minisblack", **options)
    for dtype in [*TYPES, "float16"]:
        write(f"{dtype}.tif", values(dtype, STACK))
        write(f"{dtype}_big.tiff", values(dtype, STACK), byteorder=">")
    data = values("uint16", STACK)
    for compression in ["zlib", "lzw", "packbits", "adobe_deflate"]:
        write(f"{compression}.tiff", data, compression=compression)
    for dtype in ["uint8", "uint16", "int16", "uint32", "float32"]:
        write(f"{dtype}_predictor.tif", values(dtype, STACK), compression="lzw", predictor=True)
    write("zstd.tif", data, compression="zstd")
    write("one_slice.tif", values("uint16", (1, 5, 6)))
    write("one_slice.tiff", values("uint16", (1, 5, 6)))
    write("two_dimensions.tif", values("uint16", (5, 6)))
    write("three_slices.tif", values("uint16", (3, 5, 6)))
    write("three_slices.tiff", values("uint16", (3, 5, 6)))
    write("four_slices.tif", values("uint16", (4, 5, 6)))
    tifffile.imwrite(FILES / "rgb.tif", values("uint8", (5, 6, 3)), photometric="rgb")
    tifffile.imwrite(FILES / "rgba.tif", values("uint16", (5, 6, 4)), photometric="rgb")
    tifffile.imwrite(FILES / "rgb_planar.tif", values("uint8", (3, 5, 6)), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(FILES / "rgb_stack.tif", values("uint8", (2, 5, 6, 3)), photometric="rgb")
    write("tiled.tif", values("uint16", (2, 33, 40)), tile=(16, 32), compression="zlib")
    write("strips.tif", values("uint8", (2, 7, 6)), rowsperstrip=2)
    write("big.tif", data, bigtiff=True)
    write("imagej.tif", data, imagej=True, metadata={"axes": "ZYX", "spacing": 3.0})
    write("imagej_channels.tif", values("uint8", (2, 2, 5, 6)), imagej=True, metadata={"axes": "ZCYX"})
    write("ome.ome.tif", data, metadata={"axes": "ZYX"})
    write("ome_channels.ome.tif", values("uint8", (2, 2, 5, 6)), metadata={"axes": "CZYX"})
    write("plain.tif", data, metadata=None)
    tifffile.imwrite(FILES / "miniswhite.tif", values("uint8", STACK), photometric="miniswhite")
    write("bits.tif", values("uint8", (2, 3, 13)) % 2 == 1)
    tifffile.imwrite(FILES / "palette.tif", values("uint8", (5, 6)), photometric="palette", colormap=np.arange(768, dtype="uint16").reshape(3, 256))
    write("four_axes.tif", values("uint8", (2, 2, 5, 6)))
    write("singleton.tif", values("uint8", (2, 1, 5, 6)))
    write("truncated.tif", values("uint8", (5, 6, 7)), truncate=True)
    with tifffile.TiffWriter(FILES / "pages_of_other_size.tif") as out:
        out.write(values("uint8", (5, 6)), metadata=None)
        out.write(values("uint8", (4, 3)), metadata=None)
    write("spaced_0000.tif", data)
    (FILES / "spaced.json").write_text('{"spacing": [2.5, 0.75, 0.5]}')


def packed_tiff(name, data, bits, fill_order=1):
    """Grey values or colours of any number of bits, most significant first, in one strip; tifffile writes such files for itself alone."""
    height, width = data.shape[:2]
    samples = data.shape[2] if data.ndim == 3 else 1
    rows = b""
    for row in data.reshape(height, -1):
        text = "".join(format(int(value), f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        rows += bytes(int(text[at:at + 8], 2) for at in range(0, len(text), 8))
    if fill_order == 2:
        rows = bytes(int(format(byte, "08b")[::-1], 2) for byte in rows)
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, 2 if samples > 1 else 1), (266, 3, fill_order), (273, 4, 0),
            (277, 3, samples), (278, 4, height), (279, 4, len(rows))]
    start = 8 + 2 + 12 * len(tags) + 4
    extra = struct.pack(f"<{samples}H", *[bits] * samples) if samples > 1 else b""
    entries = b""
    for tag, kind, value in tags:
        count, value = (samples, start) if tag == 258 and samples > 1 else (1, start + len(extra) if tag == 273 else value)
        entries += struct.pack("<HHII", tag, kind, count, value)
    (FILES / name).write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + struct.pack("<I", 0) + extra + rows)


def tiff_encodings():
    smooth = (np.add.outer(np.arange(40), np.arange(56)) * 2).astype("uint8")
    rgb = np.stack([smooth, 255 - smooth, smooth // 2], -1)
    tifffile.imwrite(FILES / "jpeg_grey.tif", smooth, photometric="minisblack", compression="jpeg", compressionargs={"level": 95})
    tifffile.imwrite(FILES / "jpeg_rgb.tif", rgb, photometric="rgb", compression="jpeg", compressionargs={"level": 95})
    Image.fromarray(rgb).save(FILES / "jpeg_ycbcr.tif", compression="jpeg", quality=95)
    black = Image.fromarray((smooth % 48 > 24).astype("uint8") * 255).convert("1")
    black.save(FILES / "fax4.tif", compression="group4")
    black.save(FILES / "fax3.tif", compression="group3")
    tifffile.imwrite(FILES / "lzma.tif", smooth, photometric="minisblack", compression="lzma")
    noise = np.random.default_rng(0).integers(0, 7, (37, 45)).astype("uint8")
    tifffile.imwrite(FILES / "tiled_lzw.tif", noise, photometric="minisblack", compression="lzw", tile=(16, 16))
    tifffile.imwrite(FILES / "tiled_planar.tif", np.stack([noise, noise + 1, noise + 2]), photometric="rgb", planarconfig="separate", tile=(16, 32), compression="zlib")
    tifffile.imwrite(FILES / "tiled_zstd_predictor.tif", noise.astype("uint16") * 999, photometric="minisblack", compression="zstd", predictor=True, tile=(16, 16), byteorder=">")
    tifffile.imwrite(FILES / "four_samples.tif", np.stack([noise, noise + 1, noise + 2, noise + 3], -1), photometric="rgb", extrasamples=["unspecified"])
    colours = np.arange(3 * 256, dtype="uint16").reshape(3, 256)
    tifffile.imwrite(FILES / "palette_lzw_tiles.tif", noise, photometric="palette", colormap=colours, compression="lzw", tile=(16, 16))
    tifffile.imwrite(FILES / "palette_stack.tif", np.stack([noise] * 5), photometric="palette", colormap=colours, compression="zstd")
    Image.fromarray(noise[:9, :13], "L").convert("P").save(FILES / "palette_pillow.tif", compression="tiff_lzw")
    for bits in [3, 5, 6, 7, 9, 10, 12, 14, 17, 20]:
        packed_tiff(f"bits_{bits}.tif", values("uint32", (5, 7)) % 2**bits, bits)
    packed_tiff("bits_4_rgb.tif", values("uint8", (5, 7, 3)) % 16, 4)
    packed_tiff("bits_12_rgb.tif", values("uint16", (5, 7, 3)) % 4096, 12)
    packed_tiff("fill_order_2.tif", values("uint8", (5, 7)), 8, fill_order=2)
    tifffile.imwrite(FILES / "sparse.tif", shape=(64, 64), dtype="uint8", data=iter([noise[:32, :32], None, None, noise[5:37, :32]]), photometric="minisblack",
                     tile=(32, 32), compression="zlib")


def describe(path):
    ending = ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            reader = determine_reader_writer_from_file_ending(ending, str(path), verbose=False)
            data, properties = reader().read_images((str(path),))
    except Exception:
        return None
    entry = {"reader": reader.__name__, "shape": data.shape, "spacing": [float(v) for v in properties["spacing"]]}
    if "sitk_stuff" in properties and len(properties["sitk_stuff"]["origin"]) == 3:
        entry |= {key: [float(v) for v in properties["sitk_stuff"][key]] for key in ["origin", "direction"]}
    assert data.dtype == np.float32
    # Bits, so that nothing is lost on the way.
    return entry | {"bits": data.view(np.uint32).ravel().tolist()}


if __name__ == "__main__":
    FILES.mkdir(exist_ok=True)
    for file in FILES.iterdir():
        file.unlink()
    nifti_files(), sitk_files(), nrrd_files(), mha_files(), png_files(), tiff_files(), tiff_encodings()
    found = {path.name: describe(path) for path in sorted(FILES.iterdir()) if path.suffix != ".json"}
    lines = [f" {json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}" for name, entry in found.items() if entry]
    refused = json.dumps([name for name, entry in found.items() if not entry])
    (HERE / "io.json").write_text('{"read": {\n' + ",\n".join(lines) + '\n}, "refused": ' + refused + "}\n")
