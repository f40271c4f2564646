"""Ray: the same records from a cluster, also when a node of it dies."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from harness.cli import main
from harness.registry import load_registry
from harness.run.engine import RunOptions, prepare, run
from tests.helpers.planted import picture_folder, record_contents

pytest.importorskip("ray", reason="the ray extra is not installed")

DRIVER = '''
"""Two nodes of one core each, in processes of their own; one is killed when some pieces are done."""

import sys
import threading
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from harness.run.engine import Engine, RunOptions, prepare, run
from harness.registry import load_registry

data, records, registry, gate = sys.argv[1:5]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
options = RunOptions(["none", "mix"], ["smooth", "oracle", "waits"], data, size=16, epochs=2,
                     records=Path(records))


def kill():
    """Once something is recorded; the attack `waits` ends when the gate is open, so there is work left."""
    while len(list(Path(records).glob("*.json"))) < 2:
        time.sleep(0.02)
    print("killed", len(list(Path(records).glob("*.json"))), flush=True)
    cluster.remove_node(second, allow_graceful=False)
    Path(gate).touch()


killer = threading.Thread(target=kill, daemon=True)
killer.start()
(cells,) = run([prepare(options, load_registry([Path(registry)]))], Engine("ray", address=cluster.address))
killer.join()
print("statuses", {cell.status for cell in cells}, len(cells), flush=True)
cluster.shutdown()
'''


PLUGIN = """
import time
from pathlib import Path

from harness.types import Guess


def waits(observation, rng, *, gate):
    while not Path(gate).exists():
        time.sleep(0.05)
    return Guess(candidates=observation.images[:, None])
"""
ENTRY = """
attacks:
  waits: {{use: "waitsplugin:waits", version: 1, kind: reconstruction, params: {{gate: {gate}}}, cite: planted}}
"""


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_node_midway_writes_the_records_that_one_process_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    data, gate = picture_folder(tmp_path / "stripes", each=10), tmp_path / "gate"
    (tmp_path / "driver.py").write_text(DRIVER)
    (tmp_path / "waitsplugin.py").write_text(PLUGIN)
    (tmp_path / "mine.yaml").write_text(ENTRY.format(gate=gate))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "driver.py", str(data), "cluster", str(tmp_path / "mine.yaml"), str(gate)]

    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert "statuses {'ok'} 6" in done.stdout
    killed_at = int(done.stdout.partition("killed ")[2].split()[0])
    options = RunOptions(["none", "mix"], ["smooth", "oracle", "waits"], str(data), size=16, epochs=2)
    options = replace(options, records=tmp_path / "here")
    run([prepare(options, load_registry([tmp_path / "mine.yaml"]))])
    one_process = record_contents(tmp_path / "here")
    assert record_contents(tmp_path / "cluster") == one_process
    assert killed_at < len(one_process)  # midway: there was work left


def test_no_cluster_at_an_address_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = picture_folder(tmp_path / "stripes", each=10)
    arguments = ["--dataset", str(data), "--records", str(tmp_path / "records"), "--no-utility"]

    code = main(["run", "--defense", "mix", "--attack", "smooth", "--engine", "ray", "--address", "nobody", *arguments])

    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and message.startswith("harness: no Ray cluster at nobody")
