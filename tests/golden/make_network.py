"""Golden numbers of nnU-Net's PlainConvUNet: writes network_2d.safetensors and network_3d.safetensors beside this file.

Each network is built from the architecture section of a plans file by nnU-Net's own `get_network_from_plans`.
"""
import json
from pathlib import Path

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from safetensors.torch import save_file

FOLDER = Path(__file__).parent
BATCH = 2

# Lists that differ from stage to stage, so that a mix-up of stages shows.
NETWORKS = {
    "network_2d": {
        "input_channels": 2,
        "num_classes": 4,
        "patch_size": [32, 24],
        "features_per_stage": [4, 8, 12, 16],
        "kernel_sizes": [[3, 3]] * 4,
        "strides": [[1, 1], [2, 2], [2, 2], [2, 1]],
        "n_conv_per_stage": [2, 2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2, 2],
    },
    "network_3d": {
        "input_channels": 1,
        "num_classes": 3,
        "patch_size": [8, 16, 16],
        "features_per_stage": [4, 8, 16],
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [2, 2, 2], [1, 2, 2]],
        "n_conv_per_stage": [2, 3, 2],
        "n_conv_per_stage_decoder": [1, 2],
    },
}


def architecture(network: dict) -> dict:
    """The section `architecture` of a configuration in a plans file."""
    dims = len(network["patch_size"])
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": len(network["features_per_stage"]),
            "features_per_stage": network["features_per_stage"],
            "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
            "kernel_sizes": network["kernel_sizes"],
            "strides": network["strides"],
            "n_conv_per_stage": network["n_conv_per_stage"],
            "n_conv_per_stage_decoder": network["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def randomise(model: torch.nn.Module) -> None:
    """Fresh networks have biases of 0 and norm weights of 1, under which a forgotten bias or a swapped pair would not show.

    Segmentation layers are scaled down so that outputs are near 1 and the rounding of float32 stays far below 1e-5.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.add_(0.3 * torch.randn_like(parameter))
            elif name.endswith("bias"):
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif "seg_layers" in name:
                parameter.mul_(0.25)


def unique_parameters(model: torch.nn.Module) -> dict:
    """Parameters by checkpoint name. A checkpoint holds each several times; `all_modules` and `decoder.encoder` are the aliases."""
    state = model.state_dict()
    unique = {n: t for n, t in state.items() if ".all_modules." not in n and not n.startswith("decoder.encoder.")}
    assert list(unique) == [n for n, _ in model.named_parameters()], "named_parameters() is free of aliases, in the optimiser's order"
    assert {t.data_ptr() for t in unique.values()} == {t.data_ptr() for t in state.values()}, "nothing but aliases was dropped"
    return unique


def make(name: str, seed: int) -> None:
    network = NETWORKS[name]
    torch.manual_seed(seed)
    plan = architecture(network)
    model = get_network_from_plans(plan["network_class_name"], plan["arch_kwargs"], plan["_kw_requires_import"],
                                   network["input_channels"], network["num_classes"], deep_supervision=True)
    randomise(model)
    image = torch.randn(BATCH, network["input_channels"], *network["patch_size"])
    parameters = unique_parameters(model)
    with torch.no_grad():
        outputs = model(image)
        exact = model.double()(image.double())
    assert all((a - b).abs().max() < 3e-6 for a, b in zip(outputs, exact)), "a tolerance of 1e-5 would be within rounding"
    model.float()

    tensors = {n: t.contiguous() for n, t in parameters.items()}
    tensors["input"] = image
    tensors.update({f"output.{level}": output.contiguous() for level, output in enumerate(outputs)})
    metadata = {
        "input_channels": network["input_channels"],
        "num_classes": network["num_classes"],
        "patch_size": network["patch_size"],
        "architecture": plan,
        "parameters": list(parameters),
    }
    # One key only: safetensors writes several in random order.
    save_file(tensors, FOLDER / f"{name}.safetensors", metadata={"network": json.dumps(metadata)})


if __name__ == "__main__":
    torch.set_num_threads(1)
    for seed, name in enumerate(NETWORKS):
        make(name, seed)
