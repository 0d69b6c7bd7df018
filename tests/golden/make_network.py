"""Golden numbers of nnU-Net's PlainConvUNet and ResidualEncoderUNet: writes a file NAME.safetensors beside this file for every name in NETWORKS.

Each network is built from the architecture section of a plans file by nnU-Net's own `get_network_from_plans`.
"""
import copy
import json
from pathlib import Path

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from safetensors.torch import save_file

FOLDER = Path(__file__).parent
BATCH = 2

# Lists that differ from stage to stage, so that a mix-up of stages shows. `n_blocks_per_stage` makes a network residual; `arch_kwargs` has what
# nnU-Net's planners write otherwise.
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
    # The shortcut into a stage is a pooling and a projection (stage 1), a pooling alone (2) and a projection alone (3).
    "network_residual_2d": {
        "input_channels": 2,
        "num_classes": 4,
        "patch_size": [24, 16],
        "features_per_stage": [4, 8, 8, 12],
        "kernel_sizes": [[3, 3], [3, 3], [1, 3], [3, 3]],
        "strides": [[1, 1], [2, 2], [2, 1], [1, 1]],
        "n_blocks_per_stage": [1, 2, 3, 1],
        "n_conv_per_stage_decoder": [2, 1, 1],
    },
    "network_residual_3d": {
        "input_channels": 1,
        "num_classes": 3,
        "patch_size": [4, 16, 16],
        "features_per_stage": [4, 8, 8],
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "n_blocks_per_stage": [1, 3, 2],
        "n_conv_per_stage_decoder": [1, 2],
    },
    "network_variants_2d": {
        "input_channels": 1,
        "num_classes": 3,
        "patch_size": [16, 24],
        "features_per_stage": [4, 8, 12],
        "kernel_sizes": [[3, 3]] * 3,
        "strides": [[1, 1], [2, 2], [1, 2]],
        "n_conv_per_stage": [2, 1, 2],
        "n_conv_per_stage_decoder": [1, 2],
        "arch_kwargs": {
            "conv_bias": False,
            "norm_op": "torch.nn.modules.batchnorm.BatchNorm2d",
            "dropout_op": "torch.nn.modules.dropout.Dropout2d",
            "dropout_op_kwargs": {"p": 0.0, "inplace": True},
            "nonlin_kwargs": {"negative_slope": 0.2, "inplace": True},
        },
    },
}


def architecture(network: dict) -> dict:
    """The section `architecture` of a configuration in a plans file."""
    dims = len(network["patch_size"])
    residual = "n_blocks_per_stage" in network
    depth = "n_blocks_per_stage" if residual else "n_conv_per_stage"
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet." + ("ResidualEncoderUNet" if residual else "PlainConvUNet"),
        "arch_kwargs": {
            "n_stages": len(network["features_per_stage"]),
            "features_per_stage": network["features_per_stage"],
            "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
            "kernel_sizes": network["kernel_sizes"],
            "strides": network["strides"],
            depth: network[depth],
            "n_conv_per_stage_decoder": network["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
            **network.get("arch_kwargs", {}),
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def build(network: dict) -> torch.nn.Module:
    """As nnU-Net's trainer: freshly initialised, with deep supervision."""
    plan = architecture(network)
    return get_network_from_plans(plan["network_class_name"], plan["arch_kwargs"], plan["_kw_requires_import"],
                                  network["input_channels"], network["num_classes"], deep_supervision=True)


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
            # Fresh residual blocks end in a weight of 0: nothing but their shortcut would show.
            if name.endswith("conv2.norm.weight"):
                parameter.add_(0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.3 * torch.randn_like(buffer))
            elif name.endswith("running_var"):
                buffer.mul_(0.2 + torch.rand_like(buffer))


def unique_state(model: torch.nn.Module) -> dict:
    """Parameters and running statistics by checkpoint name. A checkpoint holds each several times; `all_modules` and `decoder.encoder` are the
    aliases. `num_batches_tracked` is left out: with a fixed momentum nothing depends on it."""
    state = {n: t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    unique = {n: t for n, t in state.items() if ".all_modules." not in n and not n.startswith("decoder.encoder.")}
    parameters = [n for n in unique if ".running_" not in n]
    assert parameters == [n for n, _ in model.named_parameters()], "named_parameters() is free of aliases, in the optimiser's order"
    assert {t.data_ptr() for t in unique.values()} == {t.data_ptr() for t in state.values()}, "nothing but aliases was dropped"
    return unique


def levels(key: str, model: torch.nn.Module, image: torch.Tensor) -> dict:
    """The model's output at each level by key."""
    exact = copy.deepcopy(model).double()
    with torch.no_grad():
        outputs, exact = model(image), exact(image.double())
    assert all((a - b).abs().max() < 3e-6 for a, b in zip(outputs, exact)), "a tolerance of 1e-5 would be within rounding"
    return {f"{key}.{level}": output.contiguous() for level, output in enumerate(outputs)}


def make(name: str, seed: int) -> None:
    network = NETWORKS[name]
    torch.manual_seed(seed)
    model = build(network)
    randomise(model)
    image = torch.randn(BATCH, network["input_channels"], *network["patch_size"])
    state = unique_state(model)

    # Copies: a forward pass in training changes the running statistics.
    tensors = {n: t.clone() for n, t in state.items()}
    tensors["input"] = image
    tensors.update(levels("output", model.eval(), image))
    running = [n for n in state if ".running_" in n]
    if running:
        tensors.update(levels("train_output", model.train(), image))
        tensors.update({f"after.{n}": state[n] for n in running})
    metadata = {
        "input_channels": network["input_channels"],
        "num_classes": network["num_classes"],
        "patch_size": network["patch_size"],
        "architecture": architecture(network),
        "parameters": list(state),
    }
    # One key only: safetensors writes several in random order.
    save_file(tensors, FOLDER / f"{name}.safetensors", metadata={"network": json.dumps(metadata)})


if __name__ == "__main__":
    torch.set_num_threads(1)
    for seed, name in enumerate(NETWORKS):
        make(name, seed)
