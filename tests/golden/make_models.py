"""Tiny models trained by nnU-Net, and what nnU-Net predicts with them: writes the folder models beside this file.

Needs an environment with nnU-Net 2.8.1 (../compare/README.md) and about five minutes on one core: python make_models.py
`python make_models.py --check` predicts everything once more and compares; the first form ends with that.

Every folder models/NAME is a results folder of nnU-Net (plans.json, dataset.json, dataset_fingerprint.json,
fold_N/checkpoint_final.pth) with

    images/CASE_CHANNEL.nii.gz              images that were not trained on
    preprocessed/CASE.npz                   `data`: float32 (C, Z, Y, X), axes transposed, as it goes into the sliding window
    predictions/SETTINGS/CASE.nii.gz        label maps
    predictions/SETTINGS/CASE_logits.npz    `logits`: (classes or regions, Z, Y, X) on the grid of `data`, averaged over tiles,
                                            mirrorings and folds. float32, but nnU-Net adds them up in float16, with weights down
                                            to 6e-8: logits at the image's corners are off by up to 0.5.
    predictions/SETTINGS/CASE.npz           nnU-Net's own: `probabilities`, float32 (classes or regions, Z, Y, X), the image's axes

There are label maps of all cases, the rest is kept for one case of a model, probabilities only with mirroring.

models.json lists all of it: by model the configuration, images, predictions with their settings, what nnU-Net noted when it
cropped, the Dice against what was drawn, and `margins`: by image the number of voxels of its nonzero box, and how many of them
have two best logits (regions: a logit and 0), resampled to the image, that differ by less than a bound. There a rounding decides.

The trainer is nnUNetTrainer with fewer iterations; the planned networks, patches and batches are replaced.
Checkpoints are as nnU-Net saves them, but for the value of `optimizer_state`, which is an empty dict where models.json says false.
On one type of CPU the files come out with the same bytes.
"""
import contextlib
import io
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
MODELS_FOLDER = FOLDER / "models"
COMPARE = FOLDER.parent / "compare"
sys.path.insert(0, str(COMPARE))
ROOT = Path(tempfile.mkdtemp())
# `peer` is where peer_plan.py puts what it has preprocessed.
os.environ.update({"nnUNet_raw": str(ROOT / "raw"), "nnUNet_preprocessed": str(ROOT / "peer"), "nnUNet_results": str(ROOT / "results"),
                   "nnUNet_compile": "f", "nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1"})

import numpy as np  # noqa: E402
import SimpleITK  # noqa: E402
import torch  # noqa: E402
from batchgeneratorsv2.transforms.noise import gaussian_blur  # noqa: E402
from datasets import Maker, save  # noqa: E402
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: E402
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module  # noqa: E402

EPOCHS, ITERATIONS = 12, 50
MARGINS = (1e-3, 1e-2, 1e-1)
PACKAGES = ("nnunetv2", "torch", "numpy", "scipy", "scikit-image", "SimpleITK", "batchgenerators", "batchgeneratorsv2", "acvl_utils",
            "dynamic_network_architectures")


def turned() -> tuple:
    """Direction matrix of an image that is turned about two axes and has two of them reversed."""
    (a, b), (c, d) = ((np.cos(t), np.sin(t)) for t in np.radians((20, 10)))
    about_z, about_x = np.array([[a, -b, 0], [b, a, 0], [0, 0, 1]]), np.array([[1, 0, 0], [0, c, -d], [0, d, c]])
    return tuple((about_z @ about_x @ np.diag([-1.0, -1.0, 1.0])).ravel())


# Shapes and spacings are z, y, x; patches, kernels and strides have the planned order of axes. `empty` voxels at the edges are 0. The case
# `staged` is the one of which more than the label map is kept.
MODELS = {
    # Coarse along x, which becomes the first axis. Target spacing (2.6, 1, 1), so slices are resampled apart only
    # where the image's spacing asks for it: in `short` and `turned`, not in `tiles`.
    "plain_3d": {
        "number": 811,
        "channels": ["CT"],
        "labels": {"background": 0, "ball": 1, "box": 2},
        "plans": "nnUNetPlans",
        "configuration": "3d_fullres",
        "folds": [0, 1],
        "transpose_forward": [2, 0, 1],
        "patch_size": [8, 16, 24],
        "batch_size": 4,
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "features_per_stage": [4, 8, 12],
        "training": [((28, 32, 12), (1, 1, 2.6)), ((24, 30, 13), (1.2, 1, 2.6)), ((30, 26, 11), (1, 1.1, 3)),
                     ((26, 28, 14), (1.1, 0.9, 2.2)), ((32, 30, 10), (1, 1, 2.6)), ((25, 33, 12), (1, 1, 2.4))],
        "tests": {
            "tiles": dict(shape=(38, 36, 15), spacing=(1, 0.8, 2.2)),
            "short": dict(shape=(12, 30, 9), spacing=(1.1, 1, 3.4)),
            "turned": dict(shape=(24, 28, 11), spacing=(1.1, 0.9, 2.8), empty=(3, 2, 1), direction=turned(), origin=(-12.5, 30.25, 7.0)),
        },
        "staged": "short",
    },
    # Slices along y, which becomes the first axis and keeps its spacing.
    "plain_2d": {
        "number": 812,
        "channels": ["T1", "T2"],
        "labels": {"background": 0, "ball": 1, "box": 2},
        "plans": "nnUNetPlans",
        "configuration": "2d",
        "folds": [0],
        "transpose_forward": [1, 0, 2],
        "patch_size": [16, 24],
        "batch_size": 8,
        "kernel_sizes": [[3, 3]] * 3,
        "strides": [[1, 1], [2, 2], [2, 2]],
        "features_per_stage": [4, 8, 16],
        "training": [((28, 9, 32), (1, 3, 1)), ((26, 10, 28), (1.1, 3, 1)), ((30, 8, 30), (1, 3.2, 1)), ((24, 9, 34), (1, 2.8, 0.9)),
                     ((27, 10, 29), (0.9, 3, 1.1)), ((32, 8, 26), (1, 3, 1))],
        "tests": {
            "tiles": dict(shape=(30, 7, 36), spacing=(0.9, 3.3, 1)),
            "narrow": dict(shape=(12, 8, 26), spacing=(1.1, 3.5, 1.1)),
            "close": dict(shape=(26, 8, 24), spacing=(1, 2.2, 1.2)),
        },
        "staged": "narrow",
    },
    # `tiles` has the target spacing: nothing is resampled.
    "residual_3d": {
        "number": 813,
        "channels": ["T1", "T2"],
        "labels": {"background": 0, "ball": 1, "box": 2, "void": 3},
        "plans": "nnUNetResEncUNetMPlans",
        "configuration": "3d_fullres",
        "folds": [0],
        "transpose_forward": [0, 1, 2],
        "patch_size": [16, 24, 16],
        "batch_size": 2,
        "kernel_sizes": [[3, 3, 3]] * 3,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "features_per_stage": [4, 8, 8],
        "training": [((28, 30, 26), (1, 1, 1)), ((26, 28, 30), (1.1, 1, 1)), ((30, 26, 28), (1, 1, 1)), ((28, 31, 27), (1, 0.9, 1.1)),
                     ((25, 30, 28), (1, 1, 1)), ((29, 27, 31), (0.9, 1.1, 1))],
        "tests": {
            "tiles": dict(shape=(30, 34, 26), spacing=(1, 1, 1)),
            "flat": dict(shape=(11, 26, 17), spacing=(1.2, 1, 1.1)),
        },
        "staged": "flat",
    },
    # As for brain tumours: the largest region is painted first, with the second label. Empty around an ellipsoid, so that z-score
    # goes by the mask.
    "regions_3d": {
        "number": 814,
        "channels": ["T1", "FLAIR"],
        "labels": {"background": 0, "whole": [1, 2, 3], "core": [1, 3], "tip": 3},
        "regions_class_order": [2, 1, 3],
        "plans": "nnUNetPlans",
        "configuration": "3d_fullres",
        "folds": [0],
        "transpose_forward": [0, 1, 2],
        "patch_size": [16, 24, 16],
        "batch_size": 2,
        "kernel_sizes": [[3, 3, 3]] * 3,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "features_per_stage": [4, 8, 12],
        "training": [((32, 30, 30), (1.1, 1, 1)), ((30, 34, 32), (1.1, 1, 0.9)), ((28, 30, 34), (1.2, 1.1, 1)), ((30, 32, 30), (1.1, 1, 1)),
                     ((31, 29, 33), (1, 1, 1)), ((29, 33, 31), (1.1, 0.9, 1))],
        "tests": {
            "tiles": dict(shape=(35, 36, 32), spacing=(1, 0.9, 1)),
            "small": dict(shape=(16, 28, 24), spacing=(1.2, 1, 1)),
        },
        "staged": "small",
    },
}


def noise(rng, shape) -> np.ndarray:
    """Deviation 10, in steps of 10, which keeps files small."""
    return 10 * (rng.binomial(4, 0.5, shape) - 2)


def body(rng, shape, spacing, centre, box: bool, low: float, high: float) -> np.ndarray:
    """A box or an ellipsoid with half axes between `low` and `high` mm."""
    radii = rng.uniform(low, high, 3) * (0.85 if box else 1)
    offsets = [(np.arange(n) + 0.5) * size - c for n, size, c in zip(shape, spacing, centre)]
    parts = np.meshgrid(*(np.abs(o) / r for o, r in zip(offsets, radii)), indexing="ij")
    return np.max(parts, 0) < 1 if box else np.sum(np.square(parts), 0) < 1


def apart(rng, shape, spacing, number: int) -> np.ndarray:
    """Bodies that do not touch, one a label."""
    extent = np.multiply(shape, spacing)
    labels = np.zeros(shape, np.uint8)
    for label in range(1, number + 1):
        for attempt in range(10_000):
            at = body(rng, shape, spacing, rng.uniform(0.15, 0.85, 3) * extent, label == 2, 4.5, 7.5)
            if at.sum() * np.prod(spacing) > 250 and not labels[at].any():
                break
        else:
            raise ValueError(f"no room for {number} bodies in {extent} mm")
        labels[at] = label
    return labels


def nested(rng, shape, spacing) -> np.ndarray:
    """Label 2 around 1, in which 3 is a box."""
    extent = np.multiply(shape, spacing)
    centre = rng.uniform(0.4, 0.6, 3) * extent
    labels = np.zeros(shape, np.uint8)
    for label, reach, low, high in ((2, 0, 8, 10), (1, 1.5, 5.5, 6.5), (3, 1.5, 3.5, 4.5)):
        at = body(rng, shape, spacing, centre + rng.uniform(-reach, reach, 3), label == 3, low, high)
        labels[at & ((labels > 0) | (label == 2))] = label
    return labels


def case(name: str, rng, shape, spacing, empty=(0, 0, 0)) -> tuple:
    """Labels and channels of one made-up case.

    Instance normalisation takes the contrast from a patch with one body, so bodies that are apart are not told
    from each other by how much brighter than the background they are.
    """
    inside = np.zeros(shape, bool)
    inside[tuple(slice(n, size - n) for n, size in zip(empty, shape))] = True
    if name == "regions_3d":
        labels = nested(rng, shape, spacing)
        grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
        inside &= np.sum(np.square(grid), 0) < 0.8**2
    else:
        labels = apart(rng, shape, spacing, len(MODELS[name]["labels"]) - 1)
    greys = {
        "plain_3d": [[80, 40, 120]],
        "plain_2d": [[200, 260, 200], [300, 300, 240]],
        "residual_3d": [[200, 260, 200, 140], [300, 300, 360, 300]],
        "regions_3d": [[200, 260, 200, 340], [300, 300, 380, 300]],
    }[name]
    channels = []
    for grey in greys:
        image = np.array(grey)[labels] + noise(rng, shape)
        if name == "plain_3d":  # to be clipped
            image = np.where(rng.random(shape) < 0.01, rng.choice([-900, 900], shape), image)
        channels.append((image * inside).astype(np.int16))
    return labels * inside, channels


def write_data_set(name: str) -> str:
    """Makes the raw data set and the images to predict; returns the data set's name."""
    model = MODELS[name]
    make = Maker(ROOT / "raw" / f"Dataset{model['number']}_{name}", model["number"], ".nii.gz")
    for index, (shape, spacing) in enumerate(model["training"]):
        labels, channels = case(name, make.rng, shape, spacing)
        save(make.labels(f"case{index}"), labels, spacing)
        for channel, image in enumerate(channels):
            save(make.image(f"case{index}", channel), image, spacing)
    more = {key: model[key] for key in ("regions_class_order",) if key in model}
    make.finish(model["channels"], model["labels"], **more)

    images = MODELS_FOLDER / name / "images"
    images.mkdir(parents=True)
    for test, how in model["tests"].items():
        geometry = dict(spacing=how["spacing"], direction=how.get("direction"), origin=how.get("origin"))
        labels, channels = case(name, make.rng, how["shape"], how["spacing"], how.get("empty", (0, 0, 0)))
        truth = ROOT / "truth" / name
        truth.mkdir(parents=True, exist_ok=True)
        np.save(truth / f"{test}.npy", labels)
        for channel, image in enumerate(channels):
            save(images / f"{test}_{channel:04d}.nii.gz", image, **geometry)
    return make.folder.name


def shrink(name: str, plans: dict) -> None:
    """Replaces the planned network and patch by tiny ones."""
    model = MODELS[name]
    plan = plans["configurations"][model["configuration"]]
    assert plans["transpose_forward"] == model["transpose_forward"], plans["transpose_forward"]
    assert any(plan["use_mask_for_norm"]) == (name == "regions_3d")
    plan["patch_size"], plan["batch_size"], plan["batch_dice"] = model["patch_size"], model["batch_size"], True
    kwargs = plan["architecture"]["arch_kwargs"]
    blocks = {"n_blocks_per_stage": [1, 2, 2]} if "n_blocks_per_stage" in kwargs else {"n_conv_per_stage": [2, 2, 2]}
    convolutions = [1, 1] if "n_blocks_per_stage" in kwargs else [2, 2]
    kwargs |= blocks | {"n_stages": 3, "n_conv_per_stage_decoder": convolutions}
    kwargs |= {key: model[key] for key in ("features_per_stage", "kernel_sizes", "strides")}


def train(name: str, dataset: str, fold: int) -> None:
    """Trains one fold and copies what nnU-Net needs for predicting."""
    model, peer = MODELS[name], ROOT / "peer" / dataset
    plans = json.loads((peer / f"{model['plans']}.json").read_text())
    shrink(name, plans)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(model["number"] + 1000 * fold)
    clock = itertools.count(1.7e9)
    trainer_module.time = lambda: next(clock)  # times are in the checkpoint
    with contextlib.redirect_stdout(io.StringIO()):
        trainer = trainer_module.nnUNetTrainer(plans | {"continue_training": False}, model["configuration"], fold,
                                               json.loads((peer / "dataset.json").read_text()), torch.device("cpu"))
        trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = EPOCHS, ITERATIONS, 2
        trainer.logger.plot_progress_png = lambda folder: None
        trainer.run_training()
    trained, target = Path(trainer.output_folder), MODELS_FOLDER / name / f"fold_{fold}"
    target.mkdir()
    for file in ("plans.json", "dataset.json", "dataset_fingerprint.json"):
        shutil.copy(trained.parent / file, target.parent)
    shutil.copy(trained / "checkpoint_final.pth", target)
    if not keeps_optimizer(name):
        checkpoint = torch.load(target / "checkpoint_final.pth", weights_only=False)
        torch.save(checkpoint | {"optimizer_state": {}}, target / "checkpoint_final.pth")


def keeps_optimizer(name: str) -> bool:
    return name == "plain_2d"


def settings(name: str) -> dict:
    """Predictions to make, by the name of their folder."""
    made = {"fold_0": dict(folds=[0], mirroring=True), "fold_0_unmirrored": dict(folds=[0], mirroring=False)}
    if len(MODELS[name]["folds"]) > 1:
        made["folds_0_1"] = dict(folds=MODELS[name]["folds"], mirroring=True)
    return made


def predictor(name: str, folds: list, mirroring: bool) -> nnUNetPredictor:
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = nnUNetPredictor(use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
    loaded.initialize_from_trained_model_folder(str(MODELS_FOLDER / name), folds)
    return loaded


def images(name: str, test: str) -> list:
    return [str(MODELS_FOLDER / name / "images" / f"{test}_{channel:04d}.nii.gz") for channel in range(len(MODELS[name]["channels"]))]


def stages(loaded: nnUNetPredictor, files: list) -> tuple:
    """Preprocessed image, logits, what nnU-Net notes about the image, and the margin by which each voxel was decided."""
    plans, plan = loaded.plans_manager, loaded.configuration_manager
    data, _, properties = plan.preprocessor_class(verbose=False).run_case(files, None, plans, plan, loaded.dataset_json)
    logits = loaded.predict_logits_from_preprocessed_data(torch.from_numpy(data))
    assert data.dtype == np.float32 and logits.dtype == torch.float16
    spacing = [properties["spacing"][axis] for axis in plans.transpose_forward]
    shape = properties["shape_after_cropping_and_before_resampling"]
    resampled = plan.resampling_fn_probabilities(logits, shape, [*spacing[: 3 - len(plan.spacing)], *plan.spacing], spacing)
    resampled = np.asarray(resampled, np.float32)
    margin = np.abs(resampled).min(0) if loaded.label_manager.has_regions else np.subtract(*np.sort(resampled, 0)[:-3:-1])
    return data, logits.float().numpy(), properties, margin


def dice(name: str, predicted: np.ndarray, truth: np.ndarray) -> dict:
    """By label or region."""
    values = {}
    for label, parts in MODELS[name]["labels"].items():
        if parts != 0:
            a, b = np.isin(predicted, parts), np.isin(truth, parts)
            values[label] = round(2 * float((a & b).sum()) / float(a.sum() + b.sum()), 4)
    return values


def predict(name: str, folder: Path, check: bool = False) -> list:
    """Writes all predictions of a model into `folder` and returns their description."""
    model, staged, described = MODELS[name], MODELS[name]["staged"], []
    for setting, how in settings(name).items():
        loaded, to = predictor(name, **how), folder / "predictions" / setting
        to.mkdir(parents=True)
        again = ROOT / "again"
        for target, tests, probabilities in ((to, list(model["tests"]), False), (again, [staged], True)):
            target.mkdir(exist_ok=True)
            with contextlib.redirect_stdout(io.StringIO()):
                outputs = [str(target / test) for test in tests]
                loaded.predict_from_files_sequential([images(name, test) for test in tests], outputs, save_probabilities=probabilities)
        assert (to / f"{staged}.nii.gz").read_bytes() == (again / f"{staged}.nii.gz").read_bytes(), "probabilities decide as logits do"
        if how["mirroring"]:
            shutil.move(again / f"{staged}.npz", to)
        shutil.rmtree(again)
        for file in ("plans.json", "dataset.json", "predict_from_raw_data_args.json"):
            (to / file).unlink()

        base = f"{name}/predictions/{setting}"
        entry = {
            **how,
            "tile_step_size": loaded.tile_step_size,
            "gaussian": loaded.use_gaussian,
            "labels": {test: f"{base}/{test}.nii.gz" for test in model["tests"]},
            "probabilities": {staged: f"{base}/{staged}.npz"} if how["mirroring"] else {},
            "logits": {staged: f"{base}/{staged}_logits.npz"},
            "dice": {},
            "margins": {},
        }
        for test in model["tests"]:
            data, logits, _, margin = stages(loaded, images(name, test))
            if test == staged:
                np.savez_compressed(to / f"{staged}_logits.npz", logits=logits)
                (folder / "preprocessed").mkdir(exist_ok=True)
                np.savez_compressed(folder / "preprocessed" / f"{staged}.npz", data=data)
            entry["margins"][test] = {"voxels": margin.size, **{str(bound): int((margin < bound).sum()) for bound in MARGINS}}
            if not check:
                predicted = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(to / f"{test}.nii.gz")))
                entry["dice"][test] = dice(name, predicted, np.load(ROOT / "truth" / name / f"{test}.npy"))
        described.append(entry)
    return described


def describe(name: str, predictions: list) -> dict:
    model, staged = MODELS[name], MODELS[name]["staged"]
    loaded = predictor(name, [0], False)
    noted = {}
    for test in model["tests"]:
        _, _, properties, _ = stages(loaded, images(name, test))
        noted[test] = {
            "spacing": [float(size) for size in properties["spacing"]],
            "shape_before_cropping": [int(size) for size in properties["shape_before_cropping"]],
            "bbox_used_for_cropping": [[int(edge) for edge in pair] for pair in properties["bbox_used_for_cropping"]],
            "shape_after_cropping_and_before_resampling": [int(size) for size in properties["shape_after_cropping_and_before_resampling"]],
        }
    return {
        "configuration": model["configuration"],
        "folds": model["folds"],
        "optimizer_state": keeps_optimizer(name),
        "images": {test: [str(Path(file).relative_to(MODELS_FOLDER)) for file in images(name, test)] for test in model["tests"]},
        "properties": noted,
        "preprocessed": {staged: f"{name}/preprocessed/{staged}.npz"},
        "predictions": predictions,
    }


def check() -> None:
    """Predicts with the stored models and compares with what is stored."""
    for name, described in json.loads((MODELS_FOLDER / "models.json").read_text())["models"].items():
        for old, new in zip(described["predictions"], predict(name, ROOT / name, check=True), strict=True):
            assert {**old, "dice": {}} == new, name
        for file in sorted((ROOT / name).rglob("*.*")):
            stored = MODELS_FOLDER / name / file.relative_to(ROOT / name)
            if file.suffix == ".npz":
                (key, one), = np.load(file).items()
                same = np.array_equal(one, np.load(stored)[key])
            else:
                same = file.read_bytes() == stored.read_bytes()
            assert same, stored
        print(f"{name}: the same", flush=True)


def main() -> None:
    shutil.rmtree(MODELS_FOLDER, ignore_errors=True)
    # nnU-Net would choose between two ways of blurring by the time they take.
    gaussian_blur.GaussianBlurTransform._benchmark_wrapper = lambda self, *given: gaussian_blur.blur_dimension(*given)
    names = {name: write_data_set(name) for name in MODELS}
    # Planning gives torch as many threads as there are processes for augmentation, of which there shall be none later.
    subprocess.run([sys.executable, COMPARE / "peer_plan.py", ROOT, "default,ResEncM", *names.values()], check=True,
                   stdout=subprocess.DEVNULL, env=os.environ | {"nnUNet_n_proc_DA": "1"})
    golden = {"versions": {package: version(package) for package in PACKAGES}, "models": {}}
    for name, dataset in names.items():
        started = time.time()
        for fold in MODELS[name]["folds"]:
            train(name, dataset, fold)
        trained = time.time()
        predictions = predict(name, MODELS_FOLDER / name)
        golden["models"][name] = describe(name, predictions)
        print(f"{name}: {trained - started:.0f} s of training, {time.time() - trained:.0f} s of predicting, Dice",
              {setting: entry["dice"] for setting, entry in zip(settings(name), predictions)}, flush=True)
        worst = min(value for entry in predictions for values in entry["dice"].values() for value in values.values())
        assert worst > 0.7, "a model that predicts at random tests little"
    (MODELS_FOLDER / "models.json").write_text(json.dumps(golden, indent=1) + "\n")
    for file in MODELS_FOLDER.rglob("*.*"):
        file.chmod(0o644)
    print(f"{sum(file.stat().st_size for file in MODELS_FOLDER.rglob('*.*') if file.is_file()):,} bytes")
    subprocess.run([sys.executable, __file__, "--check"], check=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        check() if sys.argv[1:] == ["--check"] else main()
    finally:
        shutil.rmtree(ROOT)
