"""Finds the peer: the Python of the environment in which nnU-Net is installed."""
import os
import subprocess
import sys
from pathlib import Path


def peer_python(comparison: str, packages: tuple[str, ...] = ("nnunetv2",), variable: str = "PEER_VENV") -> Path:
    """Python of the virtual environment that `variable` names, which has `packages`; ends `comparison` with one line otherwise."""
    advice = f"a virtual environment with {' and '.join(packages)} in it (tests/compare/README.md says how)"
    if variable not in os.environ:
        sys.exit(f"{comparison}: {variable} is not set; set it to {advice}")
    python = Path(os.environ[variable]).absolute() / "bin" / "python"
    if not python.exists():
        sys.exit(f"{comparison}: {variable} has no {python}; set it to {advice}")
    for package in packages:
        if subprocess.run([python, "-c", f"import {package}"], capture_output=True).returncode != 0:
            sys.exit(f"{comparison}: {python} cannot import {package}; {variable} has to be {advice}")
    return python
