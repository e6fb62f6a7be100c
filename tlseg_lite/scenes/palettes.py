"""What the ground is made of: colours (RGB images) and spectra (Sentinel-2) of materials."""

from __future__ import annotations

import numpy as np

from tlseg_lite.data.landslide4sense import BANDS

# Display colours of a stretched 0.8 m image in full sunlight, RGB in 0..1.
RGB = {
    "forest": (0.215, 0.335, 0.235),
    "conifer": (0.155, 0.255, 0.205),
    "shrub": (0.265, 0.360, 0.235),
    "grass": (0.335, 0.425, 0.265),
    "straw": (0.520, 0.470, 0.300),
    "crop": (0.300, 0.430, 0.260),
    "soil_brown": (0.520, 0.425, 0.315),
    "soil_red": (0.600, 0.385, 0.320),
    "soil_orange": (0.640, 0.440, 0.255),
    "soil_tan": (0.660, 0.585, 0.410),
    "soil_grey": (0.520, 0.515, 0.490),
    "soil_pale": (0.700, 0.685, 0.625),
    "soil_dark": (0.370, 0.370, 0.355),
    "rock": (0.520, 0.520, 0.500),
    "gravel": (0.600, 0.590, 0.550),
    "asphalt": (0.430, 0.440, 0.440),
    "concrete": (0.760, 0.760, 0.710),
    "water": (0.090, 0.165, 0.160),
    "roof_white": (0.850, 0.860, 0.860),
    "roof_blue": (0.420, 0.560, 0.720),
    "roof_grey": (0.420, 0.420, 0.430),
    "roof_red": (0.560, 0.330, 0.280),
    "cloud": (0.960, 0.965, 0.970),
}

# Surface reflectance in Sentinel-2 B1 to B12 without B8A, as Landslide4Sense orders them.
# B9 (water vapour) and B10 (cirrus) hardly see the ground: see ATMOSPHERE.
SENTINEL = {
    "forest": (0.012, 0.016, 0.034, 0.022, 0.064, 0.190, 0.238, 0.240, 0.250, 1, 0.125, 0.055),
    "conifer": (0.010, 0.013, 0.025, 0.018, 0.045, 0.130, 0.160, 0.165, 0.175, 1, 0.085, 0.038),
    "shrub": (0.016, 0.022, 0.048, 0.034, 0.086, 0.200, 0.240, 0.245, 0.260, 1, 0.165, 0.080),
    "grass": (0.024, 0.032, 0.066, 0.050, 0.115, 0.230, 0.275, 0.285, 0.300, 1, 0.205, 0.105),
    "straw": (0.040, 0.052, 0.080, 0.095, 0.140, 0.190, 0.215, 0.230, 0.245, 1, 0.260, 0.175),
    "crop": (0.020, 0.030, 0.064, 0.042, 0.105, 0.270, 0.340, 0.350, 0.350, 1, 0.190, 0.095),
    "soil_brown": (0.050, 0.066, 0.094, 0.132, 0.160, 0.180, 0.195, 0.205, 0.215, 1, 0.290, 0.235),
    "soil_red": (0.042, 0.052, 0.078, 0.150, 0.180, 0.200, 0.210, 0.225, 0.235, 1, 0.300, 0.250),
    "soil_orange": (0.044, 0.056, 0.092, 0.158, 0.185, 0.205, 0.220, 0.235, 0.245, 1, 0.310, 0.255),
    "soil_tan": (0.062, 0.082, 0.118, 0.165, 0.190, 0.210, 0.220, 0.235, 0.245, 1, 0.330, 0.275),
    "soil_grey": (0.070, 0.085, 0.108, 0.128, 0.145, 0.160, 0.170, 0.180, 0.190, 1, 0.240, 0.205),
    "soil_pale": (0.095, 0.118, 0.150, 0.190, 0.210, 0.225, 0.235, 0.250, 0.260, 1, 0.340, 0.290),
    "soil_dark": (0.040, 0.048, 0.060, 0.074, 0.090, 0.105, 0.115, 0.125, 0.130, 1, 0.170, 0.145),
    "rock": (0.080, 0.095, 0.115, 0.130, 0.145, 0.155, 0.165, 0.175, 0.180, 1, 0.220, 0.195),
    "gravel": (0.090, 0.108, 0.135, 0.158, 0.170, 0.180, 0.190, 0.200, 0.205, 1, 0.235, 0.205),
    "asphalt": (0.080, 0.088, 0.100, 0.110, 0.120, 0.128, 0.135, 0.142, 0.148, 1, 0.165, 0.150),
    "concrete": (0.130, 0.155, 0.190, 0.215, 0.230, 0.240, 0.250, 0.260, 0.265, 1, 0.290, 0.260),
    "water": (0.022, 0.022, 0.026, 0.016, 0.014, 0.010, 0.010, 0.010, 0.010, 1, 0.006, 0.004),
    "roof_white": (0.200, 0.240, 0.280, 0.310, 0.320, 0.330, 0.340, 0.350, 0.350, 1, 0.330, 0.290),
    "roof_blue": (0.140, 0.170, 0.160, 0.140, 0.150, 0.170, 0.190, 0.210, 0.220, 1, 0.260, 0.230),
    "roof_grey": (0.090, 0.100, 0.110, 0.118, 0.125, 0.135, 0.145, 0.155, 0.160, 1, 0.180, 0.165),
    "roof_red": (0.060, 0.070, 0.090, 0.160, 0.180, 0.195, 0.205, 0.215, 0.220, 1, 0.260, 0.220),
    "cloud": (0.600, 0.620, 0.640, 0.660, 0.670, 0.680, 0.690, 0.690, 0.600, 60, 0.480, 0.380),
}

# Haze of a clear day (raw units, reflectance * 10,000), how much of the ground each band sees,
# and how much of the light is diffuse (it also reaches shadows): more at short wavelengths.
PATH = np.array([1010, 690, 400, 235, 190, 130, 100, 90, 130, 9.0, 40, 15], np.float32)
THROUGH = np.array([0.80, 0.86, 0.92, 0.95, 0.96, 0.97, 0.98, 0.98, 0.42, 2e-4, 1, 1], np.float32)
DIFFUSE = np.array([0.48, 0.42, 0.33, 0.26, 0.22, 0.18, 0.16, 0.15, 0.14, 0.5, 0.10, 0.08])

# Landslide4Sense stores raw band / divisor; the last two are slope (degrees) and elevation (m).
DIVISORS = np.array([band.divisor for band in BANDS])

SOILS = [name for name in RGB if name.startswith("soil_")]
# how often each soil is the scene's main one, in the order of SOILS
SOIL_WEIGHTS = np.array([0.22, 0.12, 0.10, 0.18, 0.18, 0.12, 0.08])


class Palette:
    """The materials of one scene: table values with the scene's own variation.

    ``palette["forest"]`` -> float32 (channels,). ``dryness`` 0 (wet season) to 1 (dry season)
    moves the plants towards straw. "soil" is the scene's own mixture, "soil2" a second one.
    """

    def __init__(self, rng: np.random.Generator, table: dict, dryness: float) -> None:
        self._table = {k: np.array(v, np.float32) for k, v in table.items()}
        first, second, third = rng.choice(len(SOILS), 3, p=SOIL_WEIGHTS / SOIL_WEIGHTS.sum())
        mix, bright = rng.uniform(0, 0.5), np.exp(rng.normal(0, 0.12))
        a, b, c = (self._table[SOILS[k]] for k in (first, second, third))
        self._table["soil"] = (bright * ((1 - mix) * a + mix * b)).astype(np.float32)
        self._table["soil2"] = (bright * (0.5 * a + 0.5 * c)).astype(np.float32)
        plants = {"forest": 0.35, "conifer": 0.1, "shrub": 0.6, "grass": 0.85, "crop": 0.5}
        hue = rng.normal(0, 1)  # one vegetation hue a scene: bluish to yellowish green
        for name, share in plants.items():
            t = self._table[name]
            level = t.mean() / self._table["straw"].mean()
            m = np.float32(dryness * share)
            t = (1 - m) * t + m * self._table["straw"] * level * 1.05
            if len(t) == 3:
                t = t * np.exp(np.array([0.09, 0.015, -0.07]) * hue + rng.normal(0, 0.04, 3))
            else:
                t = t * np.exp(rng.normal(0, 0.08))
            self._table[name] = t.astype(np.float32)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._table[name]
