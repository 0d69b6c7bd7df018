"""What nnU-Net predicts with the model plain_3d once its plans name another reader or other resampling: writes models/variants.

Needs an environment with nnU-Net 2.8.1, and a minute: python make_variants.py
variants.json has for each variant what is changed in plans.json; models/variants/VARIANT/CASE.nii.gz are the predictions of fold 0, without
mirroring. images/CASE_0000.nii.gz beside them are those of plain_3d with axes turned, and one whose header gives metres.
"""

import contextlib
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import nibabel
import numpy as np

MODEL = Path(__file__).resolve().parent / "models" / "plain_3d"
OUTPUT = MODEL.parent / "variants"
TORCH = {"force_separate_z": None, "memefficient_seg_resampling": False, "separate_z_anisotropy_threshold": 3}


def resampling(function, kwargs):
    changes = {}
    for key, is_seg in [("data", False), ("seg", True), ("probabilities", False)]:
        changes[f"resampling_fn_{key}"] = function
        changes[f"resampling_fn_{key}_kwargs"] = kwargs and {"is_seg": is_seg, **kwargs}
    return changes


# Changes of the plans, and of each of their configurations.
VARIANTS = {
    "torch": ({}, resampling("resample_torch_fornnunet", {**TORCH, "force_separate_z": False, "separate_z_anisotropy_threshold": 3})),
    "torch_separate": ({}, resampling("resample_torch_fornnunet", TORCH)),
    "none": ({}, resampling("no_resampling_hack", {})),
    "nibabel": ({"image_reader_writer": "NibabelIO"}, {}),
    "nibabel_reoriented": ({"image_reader_writer": "NibabelIOWithReorient"}, {}),
    "simpleitk_reoriented": ({"image_reader_writer": "SimpleITKIOWithReorient"}, {}),
}
# Axes (nibabel's codes) that the images are turned to.
TURNED = {"short": "PIR", "tiles": "LSA", "turned": "ASL"}


def images():
    folder = OUTPUT / "images"
    folder.mkdir(parents=True)
    for case, codes in TURNED.items():
        image = nibabel.load(MODEL / "images" / f"{case}_0000.nii.gz")
        turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(codes))
        image = image.as_reoriented(turn)
        image.header.set_xyzt_units("meter" if case == "short" else "mm")
        nibabel.save(image, folder / f"{case}_0000.nii.gz")
    return folder


def main():
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    torch.set_num_threads(1)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    folder = images()
    (OUTPUT / "variants.json").write_text(json.dumps({name: {"plans": plans, "configurations": each} for name, (plans, each) in VARIANTS.items()}, indent=1) + "\n")
    for name, (plans_changes, changes) in VARIANTS.items():
        with tempfile.TemporaryDirectory() as temporary:
            model = Path(temporary) / "model"
            shutil.copytree(MODEL, model)
            plans = json.loads((model / "plans.json").read_text())
            plans.update(plans_changes)
            for configuration in plans["configurations"].values():
                configuration.update(changes)
            (model / "plans.json").write_text(json.dumps(plans))
            predictor = nnUNetPredictor(tile_step_size=0.5, use_gaussian=True, use_mirroring=False, perform_everything_on_device=False,
                                        device=torch.device("cpu"), verbose=False, allow_tqdm=False)
            with contextlib.redirect_stdout(io.StringIO()):
                predictor.initialize_from_trained_model_folder(str(model), use_folds=(0,), checkpoint_name="checkpoint_final.pth")
                # In metres, SimpleITK's classes would resample one image to nothing.
                cases = [[str(folder / f"{case}_0000.nii.gz")] for case in TURNED if "nibabel" in name or case != "short"]
                outputs = [str(OUTPUT / name / Path(case[0]).name.replace("_0000.nii.gz", "")) for case in cases]
                (OUTPUT / name).mkdir()
                for case, output in zip(cases, outputs):
                    predictor.predict_from_files_sequential([case], [output], save_probabilities=False, overwrite=True)
        for case in sorted((OUTPUT / name).iterdir()):
            if not case.name.endswith(".nii.gz"):
                case.unlink()
            else:
                values = np.unique(nibabel.load(case).dataobj, return_counts=True)
                print(name, case.name, dict(zip(*map(np.ndarray.tolist, values))))


if __name__ == "__main__":
    main()
