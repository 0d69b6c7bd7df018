"""What nnU-Net writes for Hippocampus before it preprocesses: writes hippocampus_fingerprint.json and hippocampus_plans.json beside this
file, as `nnUNetv2_plan_and_preprocess -d 4` does. `python make_hippocampus.py [FOLDER]`: FOLDER has Dataset004_Hippocampus (by default
shared/data beside this clone).
"""
import os
import shutil
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NAME, NUMBER = "Dataset004_Hippocampus", 4


def main(raw: Path, root: Path) -> None:
    if not (raw / NAME).is_dir():
        sys.exit(f"make_hippocampus: {raw} has no {NAME}; name the folder that has it")
    os.environ.update({"nnUNet_raw": str(raw), "nnUNet_preprocessed": str(root / "preprocessed"), "nnUNet_results": str(root / "results")})
    # It looks for its folders when it is imported.
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    api.extract_fingerprint_dataset(NUMBER, num_processes=2, show_progress_bar=False)
    api.plan_experiment_dataset(NUMBER)
    for made, kept in {"dataset_fingerprint": "hippocampus_fingerprint", "nnUNetPlans": "hippocampus_plans"}.items():
        shutil.copyfile(root / "preprocessed" / NAME / f"{made}.json", FOLDER / f"{kept}.json")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else FOLDER.parents[2] / "shared" / "data", Path(folder))
