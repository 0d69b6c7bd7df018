"""A checkpoint of nnU-Net itself, for make_pth.py."""

import os
import tempfile
from pathlib import Path

import torch


def trainer():
    """nnU-Net's own trainer with a tiny network."""
    folder = Path(tempfile.mkdtemp())
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[name] = str(folder)
    os.environ["nnUNet_wandb_enabled"] = "0"
    (folder / "Dataset999_Tiny" / "nnUNetPlans_2d").mkdir(parents=True)
    (folder / "Dataset999_Tiny" / "nnUNetPlans_2d" / "case.b2nd").touch()
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    arch = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [2, 2, 2],
            "conv_op": "torch.nn.modules.conv.Conv2d",
            "kernel_sizes": [[3, 3]] * 3,
            "strides": [[1, 1], [2, 2], [2, 2]],
            "n_conv_per_stage": [1, 1, 1],
            "n_conv_per_stage_decoder": [1, 1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    plans = {
        "dataset_name": "Dataset999_Tiny",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "experiment_planner_used": "ExperimentPlanner",
        "continue_training": False,
        "configurations": {
            "2d": {
                "data_identifier": "nnUNetPlans_2d",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": [16, 16],
                "spacing": [1.0, 1.0],
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                "batch_dice": True,
                "architecture": arch,
            }
        },
    }
    dataset = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1, "b": 2}, "numTraining": 4, "file_ending": ".nii.gz"}
    out = nnUNetTrainer(plans, "2d", 0, dataset, device=torch.device("cpu"))
    out.initialize()
    return out


def save(path):
    """What nnU-Net itself saves after two short epochs."""
    out = trainer()
    *_, out.inference_allowed_mirroring_axes = out.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    for epoch in range(2):
        out.on_epoch_start()
        out.on_train_epoch_start()
        batch = {"data": torch.randn(2, 1, 16, 16), "target": [torch.randint(0, 3, (2, 1, side, side)).float() for side in (16, 8)]}
        out.on_train_epoch_end([out.train_step(batch)])
        out.on_validation_epoch_start()
        with torch.no_grad():
            out.on_validation_epoch_end([out.validation_step(batch)])
        out.logger.plot_progress_png = lambda folder: None
        out.on_epoch_end()
    out.current_epoch -= 1
    out.save_checkpoint(str(path))
