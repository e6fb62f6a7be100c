"""Pictures and a model that the tests of training share."""

import torch

from tlseg_lite.data import LandslideDataset


class Blobs(LandslideDataset):
    """Small pictures of several shapes; landslides are the bright rectangles."""

    source = "bright rectangles"

    def __init__(self, n, prefix="blob"):
        self.ids = [f"{prefix}{i}" for i in range(n)]

    def __getitem__(self, i):
        generator = torch.Generator().manual_seed(i)
        h, w = 40 + 7 * (i % 3), 60 - 9 * (i % 4)
        mask = torch.zeros(1, h, w)
        mask[:, 8 : 20 + i % 5, 10 : 30 - i % 5] = 1
        noise = 0.15 * torch.rand(3, h, w, generator=generator)
        return {"image": 0.2 + 0.5 * mask + noise, "mask": mask, "id": self.ids[i]}


class Threshold(torch.nn.Module):
    """A model that needs no training: bright is landslide."""

    image_size = 64

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(20.0))

    def forward(self, images):
        return self.scale * (images.mean(1, keepdim=True) - 0.5)
