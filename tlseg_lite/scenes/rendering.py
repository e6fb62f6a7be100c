"""From the ground to an image: sun, shadow, sky, air, and the sensor's own faults."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tlseg_lite.data.landslide4sense import RGB_GAIN
from tlseg_lite.scenes.ground import Ground
from tlseg_lite.scenes.lookalikes import clouds
from tlseg_lite.scenes.palettes import DIFFUSE, DIVISORS, PATH, THROUGH
from tlseg_lite.scenes.terrain import cast_shadow, hillshade, smooth_noise, smoothstep


@dataclass(frozen=True)
class Light:
    """The sun and the air of one image."""

    azimuth: float  # radians from the x axis towards y (down), where the sun stands
    elevation: float  # radians
    haze: float  # 0..1
    cloud: float  # share of the sky


def draw_light(rng: np.random.Generator, style: str) -> Light:
    """Late-morning sun, usually from the south-east; sometimes haze, seldom clouds."""
    if style == "bijie":
        azimuth = rng.normal(np.radians(45), np.radians(35)) + np.pi * (rng.random() < 0.35)
        haze = rng.beta(1.2, 6.0)
        elevation = rng.uniform(32, 65)
    else:
        azimuth = rng.normal(np.radians(50), np.radians(22))
        haze, elevation = rng.beta(1.2, 8.0), rng.uniform(24, 48)
    cloud = rng.uniform(0.02, 0.22) if rng.random() < 0.05 else 0.0
    return Light(float(azimuth), float(np.radians(elevation)), float(haze), float(cloud))


def sunlight(ground: Ground, light: Light) -> tuple[np.ndarray, np.ndarray]:
    """(direct, shadow): direct light relative to flat ground, and the share of shadow, 0..1."""
    surface = ground.height + ground.standing
    direct = hillshade(surface, ground.gsd, light.azimuth, light.elevation)
    direct /= np.float32(np.sin(light.elevation))
    reach = 12 if ground.fine else 28
    depth = cast_shadow(surface, ground.gsd, light.azimuth, light.elevation, reach)
    return direct, smoothstep(depth, 0.0, 0.35 if ground.fine else 8.0)


def render_rgb(rng: np.random.Generator, ground: Ground, light: Light) -> np.ndarray:
    """A stretched colour image, float32 (3, h, w) in 0..1."""
    direct, shadow = sunlight(ground, light)
    ground.layers.update(direct=direct, shadow=shadow)
    ambient = np.array([0.30, 0.33, 0.38], np.float32) * np.float32(rng.uniform(0.75, 1.3))
    sun = np.clip(direct, 0, 1.75) * (1 - 0.9 * shadow)
    image = ground.colour * (ambient[:, None, None] + (1 - ambient[:, None, None]) * sun)
    if light.cloud:
        veil = clouds(rng, ground.shape, light.cloud)
        away = (int(0.2 * ground.shape[0]), int(0.15 * ground.shape[1]))
        image *= 1 - 0.55 * np.roll(veil, away, (0, 1))
        image += veil * (np.float32(0.95) - image)
        ground.layers["cloud"] = veil
    air = np.array([0.36, 0.44, 0.45], np.float32)[:, None, None]
    veil = np.float32(0.45 * light.haze) * (
        1 + 0.25 * smooth_noise(rng, ground.shape, 0.5 * max(ground.shape))
    )
    image = image * (1 - veil) + air * veil
    # the supplier's stretch: white balance, gamma, contrast about the middle
    balance = np.exp(rng.normal([-0.04, 0.0, 0.0], [0.07, 0.03, 0.07])).astype(np.float32)
    gain = np.float32(np.exp(np.clip(rng.normal(-0.05, 0.15), -0.3, 0.3)))
    image = np.clip(image * (gain * balance)[:, None, None], 1e-4, 1.2)
    image = image ** np.float32(np.exp(rng.normal(0.04, 0.12)))
    image -= np.clip(image - np.float32(0.5), 0, None) * np.float32(rng.uniform(0.2, 0.6))
    return _sensor(rng, image)


def _sensor(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Optics, noise, the sharpening of the pan-sharpened product, and JPEG."""
    blur = rng.uniform(0.3, 0.6)
    image = ndimage.gaussian_filter(image, (0, blur, blur), truncate=2.5)
    level = np.float32(rng.uniform(0.002, 0.012))
    image += level * rng.standard_normal(image.shape[1:], dtype=np.float32)
    amount = np.float32(max(0.0, rng.normal(0.75, 0.5)))
    if amount > 0.05:
        radius = rng.uniform(0.8, 1.5)
        soft = ndimage.gaussian_filter(image.mean(0), radius, truncate=2.5)
        image = image + amount * (image.mean(0) - soft)
    if rng.random() < 0.22:  # resampled once before
        extra = rng.uniform(0.4, 1.0)
        image = ndimage.gaussian_filter(image, (0, extra, extra), truncate=2.5)
    image = np.clip(image, 0, 1)
    if rng.random() < 0.6:
        image = _jpeg(image, int(rng.integers(60, 96)))
    return image.astype(np.float32)


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image

    memory = io.BytesIO()
    pixels = (image.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
    Image.fromarray(pixels).save(memory, "JPEG", quality=quality)
    memory.seek(0)
    return np.asarray(Image.open(memory), np.float32).transpose(2, 0, 1) / 255


def render_bands(rng: np.random.Generator, ground: Ground, light: Light) -> np.ndarray:
    """The 14 channels of Landslide4Sense before division, float32 (14, h, w).

    Twelve Sentinel-2 bands (reflectance * 10,000, whole numbers), slope in degrees, elevation in
    metres. Bands of 20 and 60 m are as blurred as they are at the sensor.
    """
    direct, shadow = sunlight(ground, light)
    ground.layers.update(direct=direct, shadow=shadow)
    sun = np.clip(direct, 0, 2.0) * (1 - 0.95 * shadow)
    diffuse = DIFFUSE[:, None, None].astype(np.float32) * np.float32(rng.uniform(0.7, 1.25))
    reflected = ground.colour * (diffuse + (1 - diffuse) * sun) * np.float32(1e4)
    reflected *= np.float32(np.exp(rng.normal(-0.12, 0.13)))
    if light.cloud:
        veil = clouds(rng, ground.shape, light.cloud)
        reflected *= 1 - 0.6 * np.roll(veil, (14, 10), (0, 1))
        white = ground.palette["cloud"][:, None, None] * np.float32(1e4)
        reflected += veil * (white - reflected)
        ground.layers["cloud"] = veil
    air = (1 + 0.35 * light.haze + rng.normal(0, 0.05)) * (
        1 + 0.02 * smooth_noise(rng, ground.shape, 0.5 * max(ground.shape))
    )
    bands = reflected * THROUGH[:, None, None] + PATH[:, None, None] * air
    scale = max(ground.shape) / 128  # the blur is fixed on the ground
    for band in range(12):
        width = {0: 2.4, 8: 2.4, 9: 2.4}.get(band, 0.48 if band in (1, 2, 3, 7) else 0.95)
        bands[band] = ndimage.gaussian_filter(bands[band], width * scale, truncate=2.5)
    grain = np.array([4, 5, 5, 6, 8, 12, 14, 16, 6, 1.2, 10, 8], np.float32)
    bands += grain[:, None, None] * rng.standard_normal(bands.shape, dtype=np.float32)
    gy, gx = np.gradient(ndimage.gaussian_filter(ground.height, scale), ground.gsd)
    slope = np.degrees(np.arctan(np.hypot(gx, gy)))[None]
    elevation = ground.height[None] + np.float32(rng.uniform(150, 1500))
    return np.round(np.concatenate([np.clip(bands, 1, None), slope, elevation]))


def bands_to_rgb(bands: np.ndarray) -> np.ndarray:
    """Raw channels (14, h, w) -> image (3, h, w) in 0..1, from channels 3, 2, 1 (B4, B3, B2)."""
    stored = bands[[3, 2, 1]] / DIVISORS[[3, 2, 1], None, None]
    return np.clip(stored * RGB_GAIN, 0, 1).astype(np.float32)
