"""Runs a command and measures it together with all processes that it starts: seconds, and the most memory at any time."""
import os
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.2  # seconds between two looks at the memory


@dataclass
class Used:
    seconds: float
    peak_bytes: int  # proportional set size: memory that several processes share counts once
    code: int
    output: str


def run(command: list[str], environment: dict[str, str], cores: int) -> Used:
    """Runs the command on as many cores."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    ended, peak = threading.Event(), [0]
    # A file takes what it prints: a pipe would have to be emptied meanwhile.
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, preexec_fn=lambda: os.sched_setaffinity(0, allowed)
        )
        watcher = threading.Thread(target=watch, args=(process.pid, ended, peak))
        watcher.start()
        code = process.wait()
        seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
        output.seek(0)
        return Used(seconds, peak[0], code, output.read())


def watch(root: int, ended: threading.Event, peak: list[int]) -> None:
    while not ended.wait(INTERVAL):
        peak[0] = max(peak[0], sum(map(proportional_size, tree(root))))


def tree(root: int) -> list[int]:
    """The process and all its descendants; those that end meanwhile are left out."""
    processes = [root]
    for process in processes:
        for thread in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                processes += map(int, thread.read_text().split())
            except OSError:
                pass
    return processes


def proportional_size(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
