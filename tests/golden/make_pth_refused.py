"""Files that hold more or less than data, each with a part of the message that refuses it; for make_pth.py."""

import functools
import io
import os
import pickle
import struct
import warnings
import zipfile

import numpy as np
import torch


def zipped(pickled, storages=None, prefix="archive", byteorder=b"little", compression=zipfile.ZIP_STORED, more=()):
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(out, "w", compression) as file:
            entries = [(f"{prefix}/data.pkl", pickled), (f"{prefix}/byteorder", byteorder), (f"{prefix}/version", b"3\n")]
            entries += [(f"{prefix}/data/{key}", data) for key, data in (storages or {}).items()]
            for name, data in [*entries, *more]:
                if data is not None:
                    file.writestr(zipfile.ZipInfo(name), data, compression)  # without the time
    return out.getvalue()


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value):
    return pickle.dumps(value, 2)[2:-1]


def storage(numel, key="0", kind="FloatStorage", name="storage"):
    return b"(" + text(name) + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + integer(numel) + b"tQ"


def tensor(numel, offset, shape, strides, **kwargs):
    numbers = integer(offset) + b"(" + b"".join(map(integer, shape)) + b"t(" + b"".join(map(integer, strides)) + b"t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(numel, **kwargs) + numbers + b"\x89}tR"


def bomb(leaf, width, levels):
    """Lists that hold the former one `width` times."""
    out = leaf + b"q\x00"
    for _ in range(levels):
        out += b"](" + b"h\x00" * width + b"eq\x00"
    return out


class Call:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def saved(value, **kwargs):
    out = io.BytesIO()
    torch.save(value, out, **kwargs)
    return out.getvalue()


def refused():
    """Name: file and a part of the message."""

    p = b"\x80\x02"
    four = struct.pack("<4f", 1, 2, 3, 4)
    one = {"0": four}
    good = saved({"a": torch.ones(3)})
    flipped = bytearray(zipped(p + text("abc") + b"."))
    flipped[flipped.index(b"abc")] ^= 1
    scripted = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), scripted)
    numpy_array = (
        b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
        b"(K\x01(%stcnumpy\ndtype\n(X\x02\x00\x00\x00%s\x89\x88tR\x89C\x04abcdtb."
    )
    out = {
        "system": (saved(Call(os.system, "touch pth_was_here")), "its pickle asks for posix.system, which could run anything"),
        "eval": (saved(Call(eval, "1")), "__builtin__.eval"),
        "eval_p4": (saved(Call(eval, "1"), pickle_protocol=4), "builtins.eval"),
        "partial": (saved({"a": functools.partial(print, 1)}), "functools.partial"),
        "load_from_bytes": (zipped(p + b"ctorch.storage\n_load_from_bytes\n."), "torch.storage._load_from_bytes"),
        "getattr": (zipped(p + b"c__builtin__\ngetattr\n."), "__builtin__.getattr"),
        "dtype_value": (saved(torch.float32), "torch.float32"),
        "set": (saved({1, 2}), "__builtin__.set"),
        "complex": (saved(torch.zeros(1, dtype=torch.complex64)), "torch.ComplexFloatStorage"),
        "sparse": (saved(torch.eye(2).to_sparse()), "torch._utils._rebuild_sparse_tensor"),
        "module": (saved(torch.nn.ReLU()), "torch.nn.modules.activation.ReLU"),
        "stack_global": (zipped(b"\x80\x04" + text("os") + text("system") + b"\x93."), "os.system"),
        "stack_global_of_numbers": (zipped(b"\x80\x04K\x01K\x02\x93."), "a name that is not text"),
        "long_name": (zipped(p + b"c" + b"m" * 3000 + b"\nx\n."), "mmmm…"),
        "odd_name": (zipped(p + b"ca\x1b[31m\rb\nx\n."), "a\\u{1b}[31m\\rb.x"),
        "build_class": (zipped(p + b"ccollections\nOrderedDict\n}b."), "BUILD"),
        "build_setstate": (zipped(p + b"ccollections\nOrderedDict\n)R" + text("state") + b"b."), "BUILD"),
        "build_dict": (zipped(p + b"}}" + text("__setstate__") + b"Nsb."), "BUILD"),
        "build_tensor": (zipped(p + tensor(4, 0, [4], [1]) + b"}b.", one), "BUILD"),
        "inst": (zipped(p + b"(" + text("true") + b"iposix\nsystem\n."), "posix.system"),
        "obj": (zipped(p + b"(ccollections\nOrderedDict\no."), "the opcode OBJ"),
        "newobj": (zipped(p + b"ccollections\nOrderedDict\n)\x81."), "the opcode NEWOBJ"),
        "ext": (zipped(p + b"\x82\x01."), "the opcode EXT"),
        "persid": (zipped(p + b"P0\n."), "the opcode PERSID"),
        "call_of_class": (zipped(p + b"ctorch\nFloatStorage\n)R."), "Storage(F32) with 0 arguments"),
        "call_of_text": (zipped(p + text("os.system") + b")R."), "a call of what is not a name"),
        "class_value": (zipped(p + b"ccollections\nOrderedDict\n."), "a class, a type or a storage"),
        "storage_value": (zipped(p + storage(4) + b".", one), "a class, a type or a storage"),
        "list_bomb": (zipped(p + bomb(b"]", 10, 60) + b"."), "the values of its pickle are more than"),
        "dict_bomb": (
            zipped(p + b"}q\x00" + b"".join(b"}(K\x00h\x00K\x01h\x00K\x02h\x00uq\x00" for _ in range(60)) + b"."),
            "the values of its pickle are more than",
        ),
        "text_bomb": (zipped(p + bomb(text("x" * 2000), 16, 10) + b"."), "the bytes of text in its pickle are more than"),
        "bytes_bomb": (
            zipped(p + bomb(b"c_codecs\nencode\n" + text("x" * 2000) + text("latin1") + b"\x86R", 16, 10) + b"."),
            "the bytes of text",
        ),
        "array_bomb": (zipped(p + numpy_array % (integer(1 << 40) + integer(0), b"i4")), "in a numpy array of shape [1099511627776, 0]"),
        "hollow_bomb": (
            zipped(p + (numpy_array % (integer(1 << 40) + integer(0), b"i4")).replace(b"C\x04abcd", b"C\x00")),
            "the values of its pickle are more than",
        ),
        "alias_bomb": (zipped(p + bomb(tensor(256, 0, [256], [1]), 10, 8) + b".", {"0": bytes(1024)}), "one tensor under very many names"),
        "deep": (zipped(p + b"]" * 2000 + b"a" * 1999 + b"."), "nested more than 64 deep"),
        "deep_tuples": (zipped(p + b")" + b"\x85" * 3000 + b"."), "nested more than 64 deep"),
        "cycle": (zipped(p + b"]q\x00h\x00a."), "one that contains itself"),
        "storage_short": (zipped(p + tensor(10, 0, [10], [1]) + b".", one), 'found 16 bytes in "data/0", expected 10 numbers of 4 bytes'),
        "storage_long": (zipped(p + tensor(2, 0, [2], [1]) + b".", one), 'found 16 bytes in "data/0", expected 2 numbers of 4 bytes'),
        "storage_missing": (zipped(p + tensor(4, 0, [4], [1]) + b"."), 'no entry "data/0"'),
        "storage_huge": (zipped(p + tensor(2**62, 0, [4], [1]) + b".", one), "expected 4611686018427387904 numbers"),
        "storage_negative": (zipped(p + tensor(-4, 0, [4], [1]) + b".", one), "a storage of negative size"),
        "storage_two_types": (
            zipped(p + b"(" + storage(4) + storage(4, kind="IntStorage") + b"t.", one),
            'the storage "0" as I32 and as F32',
        ),
        "storage_name": (zipped(p + storage(4, name="module") + b".", one), "a reference to something outside of the pickle"),
        "storage_dots": (zipped(p + storage(4, key="../data/0") + b".", one), 'no entry "data/../data/0"'),
        "storage_long_key": (zipped(p + storage(4, key="k" * 100) + b".", one), "a storage whose name has 100 bytes"),
        "persistent_text": (zipped(p + text("storage") + b"Q."), "in place of a tuple"),
        "stride_negative": (zipped(p + tensor(4, 3, [4], [-1]) + b".", one), "-1 as a size, stride or offset"),
        "offset_negative": (zipped(p + tensor(4, -1, [4], [1]) + b".", one), "-1 as a size, stride or offset"),
        "offset_beyond": (zipped(p + tensor(4, 1, [4], [1]) + b".", one), "needs 5 numbers"),
        "offset_huge": (zipped(p + tensor(4, 2**63 - 1, [2], [2**63 - 1]) + b".", one), "needs 18446744073709551615 numbers"),
        "stride_beyond": (zipped(p + tensor(4, 0, [2, 2], [3, 1]) + b".", one), "needs 5 numbers"),
        "shape_huge": (zipped(p + tensor(4, 0, [2**40, 2**40], [0, 0]) + b".", one), "a tensor of shape [1099511627776, 1099511627776]"),
        "expand_huge": (zipped(p + tensor(4, 0, [2**40], [0]) + b".", one), "needs 1099511627776 numbers"),
        "ranks": (zipped(p + tensor(4, 0, [2, 2], [1]) + b".", one), "a tensor with 2 extents and 1 strides"),
        "rank_17": (zipped(p + tensor(4, 0, [1] * 17, [1] * 17) + b".", one), "17 axes"),
        "integer_9_bytes": (saved(2**70), "an integer of 9 bytes"),
        "numpy_uint64": (saved(np.uint64(2**63)), "the integer 9223372036854775808"),
        "numpy_object": (saved(np.array([None])), 'the numpy type "O8"'),
        "numpy_text": (saved(np.array(["a"])), 'the numpy type "U1"'),
        "numpy_big_endian": (saved(np.array([1], dtype=">i4")), "numpy numbers that are not little-endian"),
        "numpy_shape": (zipped(p + numpy_array % (integer(5), b"i4")), "4 bytes in a numpy array of shape [5]"),
        "numpy_scalar_size": (
            zipped(p + b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\x02\x00\x00\x00f8\x89\x88tRC\x02abtR."),
            "a numpy number of another size",
        ),
        "numpy_scalar_long": (
            zipped(
                p
                + b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\x02\x00\x00\x00u1\x89\x88tRc_codecs\nencode\n"
                + text("ab")
                + text("latin1")
                + b"\x86RtR."
            ),
            "a numpy number of another size",
        ),
        "latin1_beyond": (zipped(p + b"c_codecs\nencode\n" + text("π") + text("latin1") + b"\x86R."), "bytes that are beyond 255"),
        "encode_other": (zipped(p + b"c_codecs\nencode\n" + text("a") + text("idna") + b"\x86R."), "Encode with 2 arguments"),
        "key_twice": (zipped(p + b"}(" + text("a") + b"K\x01" + text("a") + b"K\x02u."), "the key a twice"),
        "key_twice_integer": (zipped(p + b"}(K\x07NK\x07Nu."), "the key 7 twice"),
        "key_list": (zipped(p + b"}]Ns."), "a container as a dictionary's key"),
        "odd_items": (zipped(p + b"}(K\x01u."), "a key without its value"),
        "append_to_tuple": (zipped(p + b")Na."), "an item for what is not a list"),
        "item_of_list": (zipped(p + b"]NNs."), "a pair for what is not a dictionary"),
        "underflow": (zipped(p + b"R."), "takes more from its stack"),
        "through_mark": (zipped(p + b"N(\x85."), "takes more from its stack"),
        "no_mark": (zipped(p + b"t."), "the end of a group without its start"),
        "no_memo": (zipped(p + b"h\x05."), "a reference to object 5"),
        "no_stop": (zipped(p + b"N"), "a pickle that ends after 3 bytes"),
        "empty_pickle": (zipped(b""), "a pickle that ends after 0 bytes"),
        "text_cut": (zipped(p + b"X\xff\xff\xff\x7fabc."), "a pickle that ends after 11 bytes"),
        "text_huge": (zipped(b"\x80\x04\x8d" + b"\xff" * 8 + b"abc."), "a pickle that ends after 15 bytes"),
        "not_utf8": (zipped(p + b"X\x01\x00\x00\x00\xff."), "not UTF-8"),
        "protocol": (zipped(b"\x80\x09N."), "the pickle protocol 9"),
        "protocol_0": (zipped(pickle.dumps("a", 0)), "the opcode UNICODE"),
        "opcode": (zipped(p + b"\xfe."), "the byte 0xfe at 2 of its pickle"),
        "pickle_damaged": (bytes(flipped), "does not match its checksum"),
        "deflated": (zipped(p + b"N.", compression=zipfile.ZIP_DEFLATED), "compressed or encrypted"),
        "big_endian": (zipped(p + b"N.", byteorder=b"big"), 'the byte order "big"'),
        "dots": (zipped(p + b"N.", more=[("archive/../../etc/passwd", b"x")]), 'the entry "archive/../../etc/passwd"'),
        "absolute": (zipped(p + b"N.", more=[("/etc/passwd", b"x")]), 'the entry "/etc/passwd"'),
        "entry_twice": (zipped(p + b"N.", more=[("archive/data.pkl", b"x")]), '"archive/data.pkl" twice'),
        "two_pickles": (zipped(p + b"N.", more=[("other/data.pkl", p + b"N.")]), "without data.pkl, or with several"),
        "no_pickle": (zipped(None), "without data.pkl, or with several"),
        "cut": (good[:-30], "a ZIP file without its end"),
        "cut_early": (good[:200], "a ZIP file without its end"),
        "legacy": (saved({"a": torch.ones(3)}, _use_new_zipfile_serialization=False), "has the format of PyTorch before 1.6"),
        "torchscript": (scripted.getvalue(), "is a TorchScript archive"),
        "text": (b"this is no checkpoint", "found no ZIP file"),
        "nothing": (b"", "found no ZIP file"),
    }
    return out
