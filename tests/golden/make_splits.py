"""Splits into folds as nnU-Net's trainer makes them: writes splits.json beside this file.

For every number of cases: the validation cases of folds 0 to 4 and, last, the training cases of fold 7, which is none of the five and
therefore drawn by itself. Cases are given by their place in the sorted list.
"""
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

CASES = (5, 7, 13, 200, 631)
FOLDS, RANDOM_FOLD = range(5), 7


def split(folder: str, identifiers: list[str], fold: int) -> tuple[list[int], list[int]]:
    """Training and validation cases of `fold`; the five folds are kept in `folder`, as beside a preprocessed data set."""
    trainer = nnUNetTrainer.__new__(nnUNetTrainer)
    trainer.fold, trainer.preprocessed_dataset_folder_base = fold, folder
    trainer.dataset_class = lambda *_, **__: SimpleNamespace(identifiers=identifiers)
    trainer.preprocessed_dataset_folder, trainer.folder_with_segs_from_previous_stage = folder, None
    trainer.print_to_log_file = lambda *text: None
    return tuple([identifiers.index(case) for case in cases] for cases in trainer.do_split())


def splits(cases: int) -> list[list[int]]:
    identifiers = [f"case_{number:03d}" for number in range(cases)]
    with tempfile.TemporaryDirectory() as folder:
        folds = [split(folder, identifiers, fold)[1] for fold in FOLDS]
        return [*folds, split(folder, identifiers, RANDOM_FOLD)[0]]


def main() -> None:
    golden = {str(cases): splits(cases) for cases in CASES}
    Path(__file__).with_name("splits.json").write_text(json.dumps(golden, separators=(",", ":")))


if __name__ == "__main__":
    main()
