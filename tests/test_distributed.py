"""Two processes give the result of one with the same global batch, each image counted once."""

import os
import socket
import subprocess
import sys

import pandas as pd
import torch

import tlseg_lite as tl

SCRIPT = """
import sys
from dataclasses import replace
import torch
import tlseg_lite as tl

out, batch_size = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
model = tl.TransLandSeg(tl.load_sam("sam_mini", None, image_size=64), tl.ATLConfig())
recipe = replace(tl.Recipe.laptop(), epochs=2, batch_size=batch_size)
train, val = tl.data.SyntheticLandslides(8, size=64), tl.data.SyntheticLandslides(3, 64, seed=1)
tl.fit(model, train, val, recipe, out, progress=False)
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_two_processes_are_as_good_as_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    alone = [sys.executable, str(script), str(tmp_path / "one"), "4"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    launch += [f"--master_port={free_port()}", "--master_addr=127.0.0.1"]
    together = [*launch, str(script), str(tmp_path / "two"), "2"]
    for command in (alone, together):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    one, two = (pd.read_csv(tmp_path / name / "history.csv") for name in ("one", "two"))
    scores = ["loss", "miou", "landslide_iou", "oa"]  # of 3 validation images on 2 processes
    pd.testing.assert_frame_equal(one[scores], two[scores], rtol=1e-4, atol=1e-5)
    first, second = (
        tl.TransLandSeg.load_tensors(tmp_path / name / "best.safetensors")
        for name in ("one", "two")
    )
    for key in first:
        torch.testing.assert_close(first[key], second[key], rtol=1e-3, atol=1e-5)
