"""Typical diameter of the objects of an image of any size, from a few samples of it.

As the size model of Cellpose 1 to 3 does it (Stringer et al. 2021, Nature Methods 18:100): a first
guess, then the network's own objects at that scale are measured. Without a size model the first
guess is the diameter of the training, or half or twice as much if that makes no sense of the
samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.instances import Criteria, cut_objects, find_instances
from bigseg.core.quality import sizes
from bigseg.core.tiles import STRIDE, TileFunction, Tiling, predict_planes
from bigseg.errors import ImageError, WeightsError
from bigseg.io.volume import Volume
from bigseg.jobs.sampling import EDGE, PLAIN, View, draw_samples, resized
from bigseg.nets import weights
from bigseg.stages import restore
from bigseg.types import Floats

if TYPE_CHECKING:
    from bigseg.nets.network import Called, TorchNet

TRIALS = (1.0, 0.5, 2.0)
"""First guesses without a size model, in diameters of the training."""
ENOUGH = 10
"""Objects that a first guess must find, if another shall not be tried."""
SENSIBLE = 0.5
"""Share of the area of its objects that a first guess must have right, too."""
MIN_SIZE = 15
"""Pixels of the network; smaller objects do not count."""
FLOW_ERROR = 0.4
"""Objects whose flows are further from what they should be do not count, as in `segment`."""
SMALLEST = 3.0
"""No diameter below this is believed, voxels."""


@dataclass(frozen=True)
class Estimate:
    """What the samples say."""

    diameter: float
    """Median over objects of 2 · √(area / π), in pixels of the chosen level along x."""
    objects: int
    """Objects that were measured."""
    samples: int
    """Samples that were looked at."""


def estimate_diameter(
    image: str,
    model: str,
    channels: tuple[int, ...] = (0,),
    *,
    level: int = 0,
    size_model: str | None = None,
    view: View = PLAIN,
    cellprob_threshold: float | None = None,
) -> Estimate:
    """Estimate the diameter of the objects that a model sees in an image.

    Samples are XY planes, at the same places whenever and wherever it is computed.

    Parameters
    ----------
    image
        Path or URL of an OME-Zarr image.
    model
        Name, path or URL of a network, or module:function, that makes flows; several, a,b,c, are
        averaged.
    channels
        Numbers of the channels, in the model's order.
    level
        Resolution level, in whose pixels the diameter is.
    size_model
        Name, path or URL of the size model that belongs to the (first) model; it makes the first
        guess.
    view
        How the network is shown the samples.
    cellprob_threshold
        Logit above which a pixel belongs to an object; None: that of the model.

    Raises
    ------
    ImageError
        If no object is found.
    NotFound, WeightsError
        If image, model or size model cannot be used.
    """
    models = [weights.describe(name.strip()) for name in model.split(",")]
    known = models[0]
    if known.representation != "flows":
        raise WeightsError(
            f"Model '{model}' makes {known.representation}, and --diameter auto needs flows; give "
            "the width of a typical object with --diameter."
        )
    restorer = restore.describe_restorer(view.restore) if view.restore else None
    # Imported here: PyTorch takes a second and 200 MB of every process that plans a run.
    from bigseg.nets import network

    digests = tuple(one.digest for one in models)
    net = network.load_all(tuple(one.name for one in models), digests)
    samples = draw_samples(Volume.open(image, level), channels, view)
    threshold = known.threshold if cellprob_threshold is None else cellprob_threshold
    ruler = _Ruler(tuple(samples), net, known, threshold, restorer)
    if size_model:
        seen = [_restored(one, restorer, None) for one in samples] if restorer else samples
        guess: float | None = _guess_by_style(seen, net.nets[0], size_model)
    else:
        guess = ruler.first_guess()
    found = ruler.measure(guess).good if guess else np.empty(0)
    if not found.size:
        raise ImageError(
            f"No object of {image} was found in {len(samples)} samples, so --diameter auto has "
            "nothing to measure; give the width of a typical object with --diameter, and see that "
            "--channels and --level are right."
        )
    return Estimate(float(np.median(found)), len(found), len(samples))


@dataclass(frozen=True)
class _Found:
    """Objects of all samples at one scale."""

    good: NDArray[np.float64]
    """Diameters of those that are believed, voxels."""
    share: float
    """Part of the area of all objects that they have."""


@dataclass(frozen=True)
class _Ruler:
    """Segments samples at a scale and measures the objects."""

    samples: tuple[Floats, ...]
    net: TileFunction
    known: weights.Model
    cellprob_threshold: float
    restorer: weights.Model | None = None

    def first_guess(self) -> float | None:
        """Diameter without a size model; None if no trial finds anything."""
        best, score = None, 0.0
        for trial in TRIALS:
            found = self.measure(trial * (self.known.usual_diameter or weights.DIAMETER))
            if len(found.good) >= ENOUGH and found.share >= SENSIBLE:
                return float(np.median(found.good))
            if len(found.good) * found.share > score:
                best, score = float(np.median(found.good)), len(found.good) * found.share
        return best

    def measure(self, diameter: float) -> _Found:
        """Segment the samples as if objects had that diameter, and measure those they have."""
        diameter = max(diameter, SMALLEST)
        each = [self._measured(sample, diameter) for sample in self.samples]
        diameters, areas, good = (np.concatenate(part) for part in zip(*each, strict=True))
        return _Found(diameters[good], float(areas[good].sum() / max(areas.sum(), 1.0)))

    def _measured(
        self, sample: Floats, diameter: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Diameter, area in the network's pixels, and whether to believe it, of each object.

        Those that the sample cuts are left out: nobody knows how large they are.
        """
        scale = self.known.diameter / diameter if self.known.diameter else 1.0
        # What is enlarged shows many objects in few voxels; more would only take longer.
        centre = _centre(sample, max(int(EDGE / scale), STRIDE))
        if self.restorer is not None:
            centre = _restored(centre, self.restorer, diameter)
        shown = resized(centre, scale, scale)
        tile = self.known.tile
        tiling = Tiling(tile or EDGE, 24, fixed=tile is not None)
        maps = predict_planes(self.net, shown[None], tiling, self.known.outputs, 1)[0]
        criteria = Criteria(self.cellprob_threshold, min_size=MIN_SIZE)
        faces = ((True, True), (True, True))
        labels, errors = find_instances(maps[:2], maps[2], criteria, faces)
        whole = ~cut_objects(labels, faces)[1:]
        areas = sizes(labels)[1:][whole].astype(np.float64)
        return 2 * np.sqrt(areas / pi) / scale, areas, errors[whole] <= FLOW_ERROR


def _restored(sample: Floats, model: weights.Model, diameter: float | None) -> Floats:
    """Restore a sample (c, y, x) as a whole; None: objects are as large as in the training."""
    y, x = sample.shape[1:]
    across = 1.0 if diameter is None else model.diameter / diameter
    plane = restore.Plane(
        length=(y, x),
        pixels=(max(int(y * across), 1), max(int(x * across), 1)),
        result=(y, x),
        model=model.name,
        digest=model.digest,
    )
    whole = (slice(0, 1), slice(0, 1), slice(0, y), slice(0, x))
    return restore.restore(plane, sample[:, None], whole)[:, 0]


def _centre(sample: Floats, edge: int) -> Floats:
    """Middle of a sample, at most `edge` wide."""
    y, x = (max((n - edge) // 2, 0) for n in sample.shape[1:])
    return sample[:, y : y + edge, x : x + edge]


def _guess_by_style(samples: list[Floats], net: TorchNet | Called, size_model: str) -> float:
    """Median of what a size model makes of the style of each sample at its own resolution."""
    import torch

    from bigseg.nets.network import TorchNet
    from bigseg.nets.size_model import read_size_model

    module: Any = getattr(net, "module", None)
    if not isinstance(net, TorchNet) or not hasattr(module, "forward_with_style"):
        raise WeightsError(
            f"The size model {size_model} needs a network with a style vector, which this one has "
            "not; leave the size model out."
        )
    model = read_size_model(weights.locate(size_model))
    styles = []
    with torch.inference_mode():
        for sample in samples:
            edges = [-(-n // STRIDE) * STRIDE for n in sample.shape[1:]]
            tile = torch.zeros((1, net.channels, *edges))
            tile[0, : len(sample), : sample.shape[1], : sample.shape[2]] = torch.from_numpy(sample)
            tile = tile.to(net.device, torch.bfloat16 if net.half else torch.float32)
            styles.append(module.forward_with_style(tile)[1].float().cpu().numpy())
    return float(np.median(model.diameters(np.concatenate(styles))))
