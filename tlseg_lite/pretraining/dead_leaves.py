"""Dead leaves: images made of overlapping shapes, each with its exact regions.

A leaf is a warped shape that hides what lies below it. Sizes follow a power law, so the images
have the statistics of natural ones (Lee, Mumford and Huang 2001): objects at all scales, sharp
occlusions, 1/f spectra. Leaves may carry parts, which gives the ambiguity (part or whole?) that
is the reason for SAM's three masks. Light, shadows and a camera come on top. On request leaves
have details too, such as a house has windows: spots of other colours that are no regions.

Everything is batched torch and runs where the bank of textures lies; a CPU core makes about a
hundred 256-pixel images in a few seconds. On a GPU `tlseg_lite.pretraining.on_device` draws them
without waiting for it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tlseg_lite.data.transforms import LUMA
from tlseg_lite.pretraining.textures import TILE, make_textures, spectral_noise


class Pictures(NamedTuple):
    """A batch of generated images.

    images: float32 (N, 3, S, S) in [0, 1].
    labels: uint8 (N, S, S), the visible region of each pixel; 0 is what lies behind all leaves.
    whole:  int64 (N, K), for each label the label of the object it belongs to (itself, or the
        leaf of which it is a part).
    """

    images: Tensor
    labels: Tensor
    whole: Tensor


class DeadLeaves:
    """A generator of dead-leaves images with a bank of textures that is made once.

    Args:
        size: side of the images in pixels, at most 256.
        textures: how many textures the bank holds.
        seed: of the bank; the images have their own generator.
        device: where images are made.
    """

    def __init__(
        self, size: int = 256, *, textures: int = 160, seed: int = 0, device: str = "cpu"
    ) -> None:
        if not 32 <= size <= TILE:
            raise ValueError(f"size is {size}; expected 32 to {TILE} pixels")
        if textures < 16:
            raise ValueError(f"textures is {textures}; expected at least 16")
        self.size, self.device = size, torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.textures = make_textures(textures, self.generator)  # T, TILE, TILE; deviation 1
        self.smooth = spectral_noise(self._uniform(64, low=1.3, high=2.4), self.generator)
        self.grain = torch.randn(8, 3, TILE, TILE, generator=self.generator, device=self.device)
        self._warm, self._green, self._luma = (
            torch.tensor(values, device=self.device)
            for values in ((0.10, 0.01, -0.11), (-0.04, 0.05, -0.03), LUMA)
        )

    def sample(
        self,
        n: int,
        *,
        difficulty: float = 1.0,
        details: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Pictures:
        """`n` new images.

        Args:
            n: how many.
            difficulty: 0 (saturated colours, few shadows, no parts) to 1 (low contrast, muted
                natural colours or none, shadows across regions, nested parts, small objects).
            details: share of the images, the first ones, whose leaves are shaded more strongly
                and carry spots of other colours that belong to them: not labelled.
            generator: of the images; None: this object's own, which moves on.
        """
        if n < 1:
            raise ValueError(f"n is {n}; expected at least one picture")
        if not 0 <= difficulty <= 1:
            raise ValueError(f"difficulty is {difficulty}; expected 0 to 1")
        if not 0 <= details <= 1:
            raise ValueError(f"details is {details}; expected 0 to 1")
        previous = self.generator
        self.generator = generator or previous
        try:
            rich = int(details * n + self._chance()) if details else 0
            painted, whole, owner = self._regions(n, difficulty, rich)
            images = self._camera(self._paint(painted, whole, difficulty, rich), difficulty)
            labels = owner[painted.long()]
        finally:
            self.generator = previous
        return Pictures(images, labels, whole)

    # --- random numbers -------------------------------------------------------------------

    def _uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        u = torch.rand(*shape, generator=self.generator, device=self.device)
        return low + (high - low) * u

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def _integer(self, high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=self.generator, device=self.device)

    # what is the same for all images of a batch, as Python's numbers

    def _chance(self) -> float:
        return float(self._uniform(1))

    def _choice(self, high: int) -> int:
        return int(self._integer(high, 1))

    def _spread(self, n: int, low: float, high: float) -> list[float]:
        """`n` numbers whose logarithms are uniform."""
        return torch.exp(self._uniform(n, low=math.log(low), high=math.log(high))).tolist()

    def _jitter(self, n: int) -> list[float]:
        return (0.45 * self._normal(n)).tolist()

    # --- geometry -------------------------------------------------------------------------

    def _regions(self, n: int, difficulty: float, rich: int) -> tuple[Tensor, Tensor, Tensor]:
        """Labels and their wholes, painted from the back to the front.

        The first `rich` images have details, which have labels of their own. The last result
        holds, for each label, the one that it counts as.
        """
        size, pad = self.size, self.size // 2 + 2
        canvas = torch.zeros(
            n, size + 2 * pad, size + 2 * pad, dtype=torch.uint8, device=self.device
        )
        leaves = 22 + int(12 * difficulty)
        scale = size / 256
        radii = self._spread(leaves, 6 - 2 * difficulty, 120)
        jitter = self._jitter(leaves)
        order = sorted(range(leaves), key=lambda i: -math.log(radii[i]) + jitter[i])
        crowded = self._uniform(n, low=0.2, high=1.0)
        parents, spots = [0], []
        for plane in range(2):  # horizons: large straight or wavy borders behind everything
            parents.append(plane + 1)
            self._leaf(canvas, plane + 1, 125 * scale, self._uniform(n) < 0.45, "plane")
        for i in order:
            k = len(parents)
            parents.append(k)
            radius = radii[i] * scale
            present = self._uniform(n) < crowded
            where = self._leaf(canvas, k, radius, present)
            if radius > 16 * scale and self._chance() < 0.5 * difficulty:
                for _ in range(1 + self._choice(2)):
                    part = len(parents)
                    parents.append(k)
                    has = present & (self._uniform(n) < 0.6)
                    self._leaf(canvas, part, radius, has, inside=(k, where))
            if rich and radius > 8 * scale:
                spots.append(len(parents))
                parents.append(k)
                has = present[:rich] & (self._uniform(rich) < 0.7)
                small = {"inside": (k, where[:rich]), "long": (0.06, 0.35)}
                for _ in range(1 + self._choice(4)):
                    self._leaf(canvas[:rich], spots[-1], radius, has, **small)
        labels = canvas[:, pad : pad + size, pad : pad + size].contiguous()
        owner = [parent if k in spots else k for k, parent in enumerate(parents)]
        whole, owner = self._numbers(parents), self._numbers(owner)
        return labels, whole.expand(n, -1), owner.to(torch.uint8)

    def _numbers(self, values: list[int]) -> Tensor:
        """int64, where the images are."""
        return torch.tensor(values, device=self.device)

    def _leaf(
        self,
        canvas: Tensor,
        k: int,
        radius: float,
        present: Tensor,
        family: str | None = None,
        inside: tuple[int, Tensor] | None = None,
        long: tuple[float, float] = (0.2, 0.7),
    ) -> Tensor:
        """Paint label `k` where a random shape lies; returns the corners of its windows (N, 2).

        `inside` = (label, corners): a part of that leaf, clipped to it, of `long` times its
        radius.
        """
        n, size = len(canvas), self.size
        pad = (canvas.shape[1] - size) // 2
        half = min(int(1.3 * radius) + 2, size // 2)
        w = 2 * half
        families = ("ellipse", "ellipse", "box", "round", "diamond", "polygon", "polygon", "ring")
        family = family or families[self._choice(len(families))]
        if inside is None:
            corners = self._integer(size, n, 2) + pad - half
            middle = self._uniform(n, 2, 1, 1, low=-0.5, high=0.5)
            reach = radius * self._uniform(n, low=0.7, high=1.0)
        else:
            corners = inside[1]
            middle = self._uniform(n, 2, 1, 1, low=-0.6, high=0.6) * radius
            reach = radius * self._uniform(n, low=long[0], high=long[1])
        ratio = torch.exp(0.75 * self._normal(n).abs()).clamp(max=12)
        short = torch.maximum(reach / ratio, torch.full_like(reach, 1.6))
        angle = self._uniform(n, high=2 * math.pi)
        axis = torch.arange(w, device=self.device, dtype=torch.float32) - half + 0.5
        y, x = axis[:, None] - middle[:, 0], axis[None, :] - middle[:, 1]
        c, s = (f(angle)[:, None, None] for f in (torch.cos, torch.sin))
        u = (x * c + y * s) / reach[:, None, None]
        v = (y * c - x * s) / short[:, None, None]
        amount = self._uniform(n, 1, 1, 1, high=0.4) * (self._uniform(n, 1, 1, 1) < 0.7)
        du, dv = (self._warp(n, w) * amount).unbind(1)
        u, v = u + du, v + dv
        v = v + (self._normal(n, 1, 1) * 0.35) * u * u
        shape = self._inside(family, u, v)
        shape &= present[:, None, None]
        self._put(canvas, corners, shape, k, None if inside is None else inside[0])
        return corners

    def _put(
        self, canvas: Tensor, corners: Tensor, shape: Tensor, k: int, inside: int | None
    ) -> None:
        """Label `k` where `shape` (N, w, w) lies at `corners` (and on the label `inside`)."""
        w = shape.shape[-1]
        for i, (row, column) in enumerate(corners.tolist()):
            view = canvas[i, row : row + w, column : column + w]
            if inside is None:
                view.masked_fill_(shape[i], k)
            else:
                view.masked_fill_(shape[i] & (view == inside), k)

    def _inside(self, family: str, u: Tensor, v: Tensor) -> Tensor:
        """Where a shape of this family lies, bool (N, w, w); u and v are 1 at its ends."""
        n = len(u)
        if family == "plane":
            return v < self._normal(n, 1, 1) * 0.5
        if family == "ellipse":
            return u * u + v * v < 1
        if family == "box":
            return torch.maximum(u.abs(), v.abs()) < 0.85
        if family == "diamond":
            return u.abs() + v.abs() < 1.1
        if family == "round":
            u2, v2 = u * u, v * v
            return u2 * u2 + v2 * v2 < 0.9
        if family == "ring":
            r = u * u + v * v
            return (r < 1) & (r > self._uniform(n, 1, 1, low=-1.0, high=0.6))
        sides = 3 + self._choice(4)  # a polygon
        corner = torch.arange(sides, device=self.device) + self._uniform(n, sides, high=0.8)
        far = torch.full_like(u, -9.0)
        for turn in (corner * (2 * math.pi / sides)).unbind(1):
            cos, sin = torch.cos(turn)[:, None, None], torch.sin(turn)[:, None, None]
            far = torch.maximum(far, u * cos + v * sin)
        return far < 0.75

    def _warp(self, n: int, w: int) -> Tensor:
        """Smooth displacement fields (N, 2, w, w) whose wavelengths grow with the window."""
        step = max(1, TILE // w)
        span = (w - 1) * step + 1
        which = self._integer(len(self.smooth), n, 2).tolist()
        starts = self._integer(max(1, TILE - span), n, 2).tolist()
        return torch.stack(
            [
                self.smooth[list(ab), y : y + span : step, x : x + span : step]
                for ab, (y, x) in zip(which, starts, strict=True)
            ]
        )

    # --- light and surface ----------------------------------------------------------------

    def _colours(self, n: int, k: int, difficulty: float) -> Tensor:
        """Base colours (N, K, 3): natural (muted) or any, with a contrast of the image's own."""
        light = self._uniform(n, k, 1, low=0.05, high=0.95)
        warm = self._normal(n, k, 1) * self._warm
        green = self._normal(n, k, 1) * self._green
        natural = light + (warm + green) * (0.3 + light)
        free = self._uniform(n, k, 3)
        muted = self._uniform(n, 1, 1) < 0.25 + 0.45 * difficulty
        colour = torch.where(muted, natural, free)
        contrast = self._uniform(n, 1, 1, low=1 - 0.75 * difficulty, high=1.0)
        middle = self._uniform(n, 1, 3, low=0.25, high=0.75)
        return middle + (colour - middle) * contrast

    def _paint(self, labels: Tensor, whole: Tensor, difficulty: float, rich: int) -> Tensor:
        """Colour, two textures and a gradient per region: (N, 3, S, S), not yet clipped."""
        n, k = whole.shape
        size = self.size
        base = self._colours(n, k, difficulty)
        part = whole[0] != torch.arange(k, device=self.device)  # parts resemble their wholes
        kin = base[:, whole[0]]
        base = torch.where(part[None, :, None], kin + (base - kin) * 0.6, base)
        rough = 0.13 * torch.exp(0.8 * self._normal(n, k, 1)).clamp(max=2.5) * base.clamp(0.2, 0.8)
        rough = rough * self._uniform(n, 1, 1, low=0.15, high=1.0)
        fine = rough * (1 + 0.25 * self._normal(n, k, 3))
        coarse = (0.06 + 0.06 * difficulty) * self._normal(n, k, 1).abs()
        coarse = coarse * (1 + 0.4 * self._normal(n, k, 3)) * base.clamp(0.2, 0.8)
        angle, zoom = self._uniform(n, k, high=6.3), torch.exp(0.5 * self._normal(n, k))
        tilt = self._normal(n, k, 2) * (0.25 / size)
        tilt[:rich] *= 3
        coarse[:rich] *= 2
        row = (torch.arange(n, device=self.device) * k)[:, None, None]
        index = (labels.long() + row).view(-1)

        def spread(values: Tensor) -> Tensor:  # (N, K) -> (N, S, S)
            return values.reshape(-1)[index].view(n, size, size)

        axis = torch.arange(size, device=self.device, dtype=torch.float32)
        y, x = axis[:, None], axis[None, :]
        c, s = spread(torch.cos(angle) * zoom), spread(torch.sin(angle) * zoom)
        ty = (y * c + x * s).long() & (TILE - 1)
        tx = (x * c - y * s).long() & (TILE - 1)
        place = ty * TILE + tx
        tile = TILE * TILE
        t1 = self.textures.view(-1)[place + spread(self._integer(len(self.textures), n, k)) * tile]
        smooth_index = (y * TILE + x).long() + spread(self._integer(len(self.smooth), n, k)) * tile
        t2 = self.smooth.view(-1)[smooth_index]
        shade = 1 + spread(tilt[..., 0]) * (y - size / 2) + spread(tilt[..., 1]) * (x - size / 2)
        channels = [
            (spread(base[..., i]) + t1 * spread(fine[..., i]) + t2 * spread(coarse[..., i])) * shade
            for i in range(3)
        ]
        return torch.stack(channels, 1)

    def _film(self, images: Tensor, difficulty: float) -> Tensor:
        """Up to a fifth of the images in black and white, as many with pale colours."""
        n = len(images)
        kind, pale = self._uniform(n, 1, 1, 1), self._uniform(n, 1, 1, 1)
        colour = torch.where(kind < 0.4 * difficulty, pale, 1.0)
        colour = torch.where(kind < 0.2 * difficulty, 0.0, colour)
        grey = (images * self._luma.view(3, 1, 1)).sum(-3, keepdim=True)
        return grey + (images - grey) * colour

    def _camera(self, images: Tensor, difficulty: float) -> Tensor:
        """Shadows and uneven light across regions, white balance, blur, noise, gamma."""
        n, _, size, _ = images.shape
        which = self._integer(len(self.smooth), 2, n)
        light, cloud = self.smooth[which[0], :size, :size], self.smooth[which[1], :size, :size]
        amount = 0.3 * difficulty * self._uniform(n, 1, 1)
        depth = self._uniform(n, 1, 1, high=0.6) * (self._uniform(n, 1, 1) < 0.55 * difficulty)
        edge = torch.exp(self._uniform(n, 1, 1, low=0.5, high=3.5))
        shadow = 1 - depth * torch.sigmoid(edge * (cloud - self._normal(n, 1, 1) * 0.7))
        factor = (torch.exp(amount * light) * shadow)[:, None]
        balance = 1 + 0.08 * difficulty * self._normal(n, 3, 1, 1)
        images = self._film(images.clamp_min(0) * factor * balance, difficulty)
        sigma = self._uniform(n, low=0.3, high=0.6 + 0.7 * difficulty)
        taps = torch.exp(
            -(torch.arange(-2, 3, device=self.device) ** 2) / (2 * sigma[:, None] ** 2)
        )
        taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(3, 0)  # one blur per image
        flat = F.pad(images.reshape(1, n * 3, size, size), (2, 2, 2, 2), mode="replicate")
        flat = F.conv2d(flat, taps[:, None, :, None], groups=n * 3)
        flat = F.conv2d(flat, taps[:, None, None, :], groups=n * 3)
        images = flat.view(n, 3, size, size)
        grain = self.grain[self._integer(len(self.grain), n)]
        flip = (self._integer(2, n, 1, 1, 1) * 2 - 1) * self._uniform(n, 1, 1, 1, high=0.04)
        images = (images + grain[..., :size, :size] * flip).clamp(0.0, 1.0)
        gamma = torch.exp(0.25 * self._normal(n, 1, 1, 1))
        return (images + 1e-4).pow(gamma).clamp(0.0, 1.0)
