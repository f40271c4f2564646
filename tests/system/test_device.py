"""Large tensors are made of pages that the process already has."""

import subprocess
import sys

import pytest

COUNT = """
import resource, sys, torch
from harness.system.device import keep_freed_memory

def faults(repeats):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(repeats):
        held = [torch.empty(20 * 2**20, dtype=torch.uint8).fill_(1) for _ in range(5)]
        del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    keep_freed_memory()
faults(3)
print(faults(10))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_tensors_that_come_and_go_cost_no_page_faults():
    """100 MB ten times over: 25,600 pages each time where they go back to the system."""
    plain, kept = (
        int(subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True).stdout)
        for how in ("plain", "kept")
    )

    assert kept < 2_000
    assert plain > 10 * kept
