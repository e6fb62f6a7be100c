"""A kernel that begins as Colab's does: google.colab and some libraries are imported already."""

import google.colab
import IPython
import ipywidgets
import matplotlib
import numpy
import pandas
import torch
from ipykernel import kernelapp

PREIMPORTED = (IPython, google.colab, ipywidgets, matplotlib, numpy, pandas, torch)

if __name__ == "__main__":
    kernelapp.launch_new_instance()
