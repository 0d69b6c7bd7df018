"""Prints the share of voxels that are the same in the label maps of two folders, and their mean Dice: peer_predict.py OURS THEIRS"""
import sys
from pathlib import Path

import numpy as np
import SimpleITK

ours, theirs = map(Path, sys.argv[1:])
same, voxels, dice = 0, 0, []
for path in sorted(theirs.glob("*.nii.gz")):
    a, b = (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / path.name))) for folder in (ours, theirs))
    same, voxels = same + int((a == b).sum()), voxels + b.size
    labels = set(np.unique(a)) | set(np.unique(b))
    dice += [2 * ((a == label) & (b == label)).sum() / ((a == label).sum() + (b == label).sum()) for label in labels - {0}]
print(same / voxels, np.mean(dice))
