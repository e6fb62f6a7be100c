"""Two processes on this machine's CPU, by the launcher that a user has."""

import os
import socket
import subprocess
import sys


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def launch(command, folder):
    environment = {
        **os.environ,
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
        "TLSEG_PROGRESS": "0",
        "TLSEG_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", *command], env=environment, capture_output=True, text=True,
        timeout=1800, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def accelerate(*command):
    """The launcher's words on the page on machines, for two processes on this one's CPU."""
    return [
        *("accelerate.commands.launch", "--main_process_port", str(free_port()), "--multi_gpu"),
        *("--num_processes", "2", "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", *command),
    ]
