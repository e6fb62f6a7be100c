"""Two processes give the result of one with the same batch, each image counted once."""

import os
import re
import subprocess
import sys

import pandas as pd
import pytest
import torch
from course import ROOT
from distributed_helpers import accelerate, free_port, launch
from training_helpers import Blobs

import tlseg_lite as tl
from tlseg_lite.training.loader import TrainingBatches

# 9 training images in batches of 4: the last batch has one image, for one of two processes.
# 3 validation images: one process counts two of them, the other one.
SCRIPT = """
import sys
from dataclasses import replace
import torch
import tlseg_lite as tl

torch.set_num_threads(1)
recipe = tl.Recipe(epochs=2, batch_size=4, cache="memory")
train, val = tl.data.SyntheticLandslides(9, size=64), tl.data.SyntheticLandslides(3, 64, seed=1)
sam = tl.load_sam("sam_mini", None, image_size=64)

class Limited(tl.TransLandSeg):
    def forward(self, images):
        if self.training and len(images) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return super().forward(images)

def run(name, kind=tl.TransLandSeg, seed=0, epochs=2):
    model = kind(sam, tl.ATLConfig(), seed=seed)
    with torch.no_grad():
        model.no_mask_embed.weight += 0.1 * seed  # processes that start differently
    out = sys.argv[1] + "/" + name
    tl.fit(model, train, val, replace(recipe, epochs=epochs), out, progress=False)
    return model

import os
rank = int(os.environ.get("RANK", "0"))
model = run("plain", seed=rank)
state = torch.cat([tensor.flatten() for tensor in model.trained_state().values()])
torch.save(state, f"{sys.argv[1]}/weights{rank}.pt")
if "RANK" in os.environ:  # the second process alone is short of memory
    run("short", Limited if rank else tl.TransLandSeg)
    run("plain")  # finished: all processes learn it from the first
"""


def test_two_processes_are_as_good_as_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    alone = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "one")],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert alone.returncode == 0, alone.stderr
    told = launch(accelerate(str(script), str(tmp_path / "two")), tmp_path)

    one = pd.read_csv(tmp_path / "one" / "plain" / "history.csv")
    first = tl.TransLandSeg.load_tensors(tmp_path / "one" / "plain" / "best.safetensors")
    scores = ["loss", "miou", "landslide_iou", "oa"]
    for name, pieces in (("plain", 2), ("short", 1)):
        folder = tmp_path / "two" / name
        two = pd.read_csv(folder / "history.csv")
        pd.testing.assert_frame_equal(one[scores], two[scores], rtol=1e-4, atol=1e-5)
        assert list(two["micro_batch"]) == [pieces, pieces]
        second = tl.TransLandSeg.load_tensors(folder / "best.safetensors")
        for key in first:
            torch.testing.assert_close(first[key], second[key], rtol=1e-3, atol=1e-5)
    # one process ran out of memory, both took smaller pieces, one said so, once
    assert len(re.findall("out of memory", told)) == 1
    assert "the batch stays 4" in told
    # every process ends with the same weights, though one started with others
    ends = [torch.load(tmp_path / "two" / f"weights{rank}.pt") for rank in range(2)]
    assert torch.equal(*ends)


def command_of_the_page():
    """The words of the page's command for two processes on a CPU, after the launcher's name."""
    page = (ROOT / "book" / "machines.md").read_text("utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^ACCELERATE_USE_CPU=true accelerate launch (.*)$", page, re.M)
    return line.split()


def test_the_command_of_the_page_on_two_processes(tmp_path):
    """One report and one set of files, in the folder that the command names."""
    words = command_of_the_page()
    port = ["--main_process_port", str(free_port())]
    told = launch(["accelerate.commands.launch", *port, *words, "--weights", "random"], tmp_path)
    assert told.count("2 processes") == 1
    assert told.count("validation chose epoch 0") == 1
    assert (tmp_path / "runs" / "two" / "scores.json").is_file()


def test_a_batch_smaller_than_the_processes_is_refused():
    from types import SimpleNamespace

    two = SimpleNamespace(num_processes=2, process_index=0, device=torch.device("cpu"))
    with pytest.raises(ValueError, match="batch_size is 1 for 2 processes"):
        TrainingBatches(Blobs(4), 64, tl.Recipe(batch_size=1), two)
