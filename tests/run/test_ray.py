"""Ray: the same records from a cluster, also when a node of it dies."""

from __future__ import annotations

import os
import subprocess
import sys

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

data, records = sys.argv[1:3]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
order = RunOptions(["none", "mix"], ["smooth", "oracle", "denoise"], data, size=16, epochs=2,
              records=Path(records))


def kill():
    while len(list(Path(records).glob("*.json"))) < 4:
        time.sleep(0.02)
    cluster.remove_node(second, allow_graceful=False)
    print("killed", len(list(Path(records).glob("*.json"))), flush=True)


threading.Thread(target=kill, daemon=True).start()
(cells,) = run([prepare(order, load_registry())], Engine("ray", address=cluster.address))
print("statuses", {cell.status for cell in cells}, len(cells), flush=True)
cluster.shutdown()
'''


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_node_midway_writes_the_records_that_one_process_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = picture_folder(tmp_path / "stripes", each=10)
    (tmp_path / "driver.py").write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "RAY_USAGE_STATS_ENABLED": "0"}

    done = subprocess.run(
        [sys.executable, str(tmp_path / "driver.py"), str(data), str(tmp_path / "cluster")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert "statuses {'ok'} 6" in done.stdout
    killed_at = int(done.stdout.partition("killed ")[2].split()[0])
    order = RunOptions(["none", "mix"], ["smooth", "oracle", "denoise"], str(data), size=16, epochs=2)
    run([prepare(RunOptions(**{**order.__dict__, "records": tmp_path / "here"}), load_registry())])
    one_process = record_contents(tmp_path / "here")
    assert record_contents(tmp_path / "cluster") == one_process
    assert killed_at < len(one_process) // 2  # midway: there was work left


def test_no_cluster_at_an_address_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = picture_folder(tmp_path / "stripes", each=10)
    arguments = ["--dataset", str(data), "--records", str(tmp_path / "records"), "--no-utility"]

    code = main(["run", "--defense", "mix", "--attack", "smooth", "--engine", "ray", "--address", "nobody", *arguments])

    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and message.startswith("harness: no Ray cluster at nobody")
