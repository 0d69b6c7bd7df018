"""Files of torch.save, and files that only look like it: writes the folder pth beside this file.

Needs an environment with nnU-Net 2.8.1 (../compare/README.md): python make_pth.py
"""

import collections
import json
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from make_pth_refused import refused, text, zipped

FIXTURES = Path(__file__).parent / "pth"
OrderedDict = collections.OrderedDict


def describe(value):
    """JSON that tells types apart and has tensors as type, shape and checksum of their f32 numbers."""
    if isinstance(value, torch.Tensor):
        numbers = value.detach().cpu().to(torch.float32).contiguous().numpy()
        return {"tensor": [str(value.dtype)[6:], list(value.shape), zlib.crc32(numpy_bytes(numbers))]}
    if isinstance(value, np.ndarray):
        return describe(value.tolist())
    if isinstance(value, np.generic):
        return describe(value.item())
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, bytes):
        return {"bytes": list(value)}
    if isinstance(value, tuple):
        return {"tuple": [describe(item) for item in value]}
    if isinstance(value, OrderedDict):
        return {"ordered": [[describe(k), describe(v)] for k, v in value.items()]}
    if isinstance(value, dict):
        return {"dict": [[describe(k), describe(v)] for k, v in value.items()]}
    if isinstance(value, list):
        return [describe(item) for item in value]
    assert value is None or isinstance(value, (bool, int, float, str)), type(value)
    return value


def numpy_bytes(numbers):
    return np.ascontiguousarray(numbers, dtype="<f4").tobytes()


def tensors():
    base = torch.arange(24, dtype=torch.float32) / 8 - 1
    kinds = {
        str(t)[6:]: torch.tensor([0, 1, 2, 3, 100]).to(t)
        for t in (
            torch.float64,
            torch.float32,
            torch.float16,
            torch.bfloat16,
            torch.int64,
            torch.int32,
            torch.int16,
            torch.int8,
            torch.uint8,
            torch.bool,
        )
    }
    return OrderedDict(
        **kinds,
        half=torch.tensor([0.0, -0.0, 6e-8, -6.1e-5, 65504.0, math.inf, -math.inf, 1 / 3], dtype=torch.float16),
        bf=torch.tensor([1 / 3, -2e30, 1e-40, math.inf], dtype=torch.bfloat16),
        negative=torch.tensor([-1, -128, 127], dtype=torch.int8),
        large=torch.tensor([-(2**62), 2**53 + 1], dtype=torch.int64),
        whole=base,
        view=base[4:10],
        matrix=base.view(4, 6),
        transposed=base.view(4, 6).t(),
        steps=base[1::3],
        block=base.view(2, 3, 4)[:, 1:, ::2],
        swapped=base.view(2, 3, 4).permute(2, 0, 1),
        repeated=base[:6].view(6, 1).expand(6, 3),
        zero=torch.tensor(2.5),
        empty=torch.empty(0),
        hollow=torch.empty(3, 0, 2),
        parameter=torch.nn.Parameter(torch.ones(2, 2)),
    )


def values(arrays=True):
    out = {
        "none": None,
        "true": True,
        "false": False,
        "ints": [0, 255, 256, 65535, 65536, -1, -(2**31), 2**31, 2**62, -(2**63), 2**63 - 1],
        "floats": [0.5, -0.0, 1e300, math.inf, -math.inf, math.nan],
        "text": ["", "a", 'π\n"', "long " * 60],
        "bytes": [b"", b"\x00\xff", bytes(300)],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "nested": {"a": {"b": [{"c": ({},)}]}},
        5: "int key",
        (1, 2): "tuple key",
        None: "none key",
        1.5: "float key",
        "ordered": OrderedDict([("z", 1), ("a", 2)]),
        "devices": [torch.device("cpu"), torch.device("cuda", 1)],
        "size": torch.Size([2, 3]),
        "scalars": [
            np.float64(0.1),
            np.float32(0.1),
            np.float16(0.1),
            np.bool_(True),
            np.int64(-5),
            np.int8(-5),
            np.uint8(250),
            np.uint64(7),
            np.int16(-300),
            np.uint32(2**32 - 1),
        ],
    }
    shared = [1, "x"]
    out["shared"] = [shared, shared, {"again": shared}]
    if arrays:
        out["arrays"] = [
            np.arange(6, dtype=np.int32).reshape(2, 3),
            np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
            np.array([True, False]),
            np.zeros((0, 3)),
            np.zeros((2, 0)),
            np.array(3.5),
            np.arange(8, dtype=np.uint8).reshape(2, 2, 2),
        ]
    return out


def checkpoint():
    """All keys of nnUNetTrainer.save_checkpoint."""
    conv = torch.nn.Conv2d(1, 2, 3)
    net = torch.nn.Sequential(conv, torch.nn.InstanceNorm2d(2, affine=True))
    net.add_module("alias", net[0])
    optimizer = torch.optim.SGD(net.parameters(), 1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)
    net[1](net[0](torch.rand(1, 1, 6, 6))).square().sum().backward()
    optimizer.step()
    plans = {
        "dataset_name": "Dataset004_Hippocampus",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "transpose_forward": [0, 1, 2],
        "configurations": {
            "2d": {
                "batch_size": 366,
                "patch_size": [56, 40],
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {"n_stages": 2, "norm_op_kwargs": {"eps": 1e-05, "affine": True}, "dropout_op": None},
                },
            }
        },
    }
    logs = [
        "mean_fg_dice",
        "ema_fg_dice",
        "dice_per_class_or_region",
        "train_losses",
        "val_losses",
        "lrs",
        "epoch_start_timestamps",
        "epoch_end_timestamps",
    ]
    logging = {key: [np.float64(0.25), np.float32(0.5)] for key in logs}
    logging["dice_per_class_or_region"] = [[np.float64(0.1), np.float64(math.nan)], [np.float32(0.3), 0.4]]
    logging["lrs"] = [0.01, 0.00999]
    return {
        "network_weights": net.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "grad_scaler_state": None,
        "logging": logging,
        "_best_ema": np.float64(0.875),
        "current_epoch": 2,
        "init_args": {
            "plans": plans,
            "configuration": "2d",
            "fold": 0,
            "dataset_json": {"labels": {"background": 0, "Anterior": 1}, "numTraining": 260},
            "device": torch.device("cuda", 0),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1),
    }


def make():
    FIXTURES.mkdir(exist_ok=True)
    (FIXTURES / "refused").mkdir(exist_ok=True)
    expected = {"read": {}, "refused": {}}
    torch.manual_seed(0)
    torch.save(tensors(), FIXTURES / "tensors.pth")
    torch.save(values(), FIXTURES / "values.pth")
    torch.save(values(), FIXTURES / "values_p4.pth", pickle_protocol=4)
    torch.save(values(arrays=False), FIXTURES / "values_p5.pth", pickle_protocol=5)
    torch.save(checkpoint(), FIXTURES / "checkpoint.pth")
    import make_pth_nnunet

    make_pth_nnunet.save(FIXTURES / "nnunet.pth")
    # As numpy 1 names its modules, and as a GPU's tensors are saved; another prefix, no record of the byte order.
    with zipfile.ZipFile(FIXTURES / "checkpoint.pth") as file:
        names = {name.split("/", 1)[1]: file.read(name) for name in file.namelist()}
    assert names["data.pkl"].count(b"numpy._core") == 1 and names["data.pkl"].count(text("cpu")) == 1
    old = names["data.pkl"].replace(b"numpy._core", b"numpy.core").replace(text("cpu"), text("cuda:0"))
    old = zipped(old, {k[5:]: v for k, v in names.items() if k.startswith("data/")}, "any name", byteorder=None)
    (FIXTURES / "numpy1.pth").write_bytes(old)
    for source in sorted(FIXTURES.glob("*.pth")):
        expected["read"][source.name] = describe(torch.load(source, map_location="cpu", weights_only=False))
    for name, (content, message) in refused().items():
        (FIXTURES / "refused" / f"{name}.pth").write_bytes(content)
        expected["refused"][f"{name}.pth"] = message
    (FIXTURES / "expected.json").write_text(json.dumps(expected, indent=None, separators=(",", ":"), ensure_ascii=False))


if __name__ == "__main__":
    make()
