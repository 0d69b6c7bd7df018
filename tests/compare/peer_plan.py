"""nnU-Net's side of `plan`: fingerprint, plans and preprocessed arrays of many data sets, in one process.

    python peer_plan.py ROOT PLANNERS DATASET ...

Reads ROOT/raw, writes ROOT/peer; PLANNERS are default, ResEncM, … with commas between. nnU-Net's own code runs unchanged, but for its
process pools, which become threads: starting Python and torch anew for every pool would take most of the time. Plans of further planners share
the arrays of `2d` and `3d_fullres` with the default ones, as their data_identifier says, so only what is new is preprocessed.
"""
import json
import os
import sys
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

root = Path(sys.argv[1]).absolute()
for name, folder in (("raw", "raw"), ("preprocessed", "peer"), ("results", "results")):
    os.environ[f"nnUNet_{name}"] = str(root / folder)

import numpy as np  # noqa: E402
from nnunetv2.experiment_planning import plan_and_preprocess_api as api  # noqa: E402
from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor  # noqa: E402
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner  # noqa: E402
from nnunetv2.experiment_planning.experiment_planners.residual_unets import residual_encoder_unet_planners as residual  # noqa: E402
from nnunetv2.preprocessing.preprocessors import default_preprocessor  # noqa: E402
from nnunetv2.utilities import utils  # noqa: E402
from nnunetv2.utilities.crossval_split import generate_crossval_split  # noqa: E402

PLANNERS = {"default": ExperimentPlanner, **{f"ResEnc{size}": getattr(residual, f"nnUNetPlannerResEnc{size}") for size in ("M", "L", "XL")}}

threads = SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=ThreadPool))
fingerprint_extractor.multiprocessing = threads
default_preprocessor.multiprocessing = threads
utils.Pool = ThreadPool


def prepare(dataset: str, planners: list) -> None:
    number, folder = int(dataset[7:10]), root / "peer" / dataset
    api.extract_fingerprint_dataset(number, num_processes=1, clean=True, verbose=False, show_progress_bar=False)
    made = set()
    for planner in planners:
        plans, name = api.plan_experiment_dataset(number, PLANNERS[planner])
        for configuration, plan in plans["configurations"].items():
            if "inherits_from" in plan or plan["data_identifier"] in made:
                continue
            made.add(plan["data_identifier"])
            api.preprocess_dataset(number, name, [configuration], [1], show_progress_bar=False)
    # nnU-Net's trainer does this, in do_split, when the first fold starts.
    cases = sorted(file.stem for file in (folder / "nnUNetPlans_2d").glob("*.pkl"))
    if len(cases) >= 5:
        (folder / "splits_final.json").write_text(json.dumps(generate_crossval_split(list(np.sort(cases)))))


for dataset in sys.argv[3:]:
    print(f"peer_plan: {dataset}", flush=True)
    prepare(dataset, sys.argv[2].split(","))
    (root / "peer" / dataset / "done").write_text(sys.argv[2])
