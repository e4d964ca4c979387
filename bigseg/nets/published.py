"""Published models: what each is for, and where it comes from.

Where the facts come from
-------------------------
addresses, names of files
    cellpose 3.1.1.3, models.py (`_MODEL_URL`, `model_path`, `size_model_path`) and denoise.py
    (`MODEL_NAMES`); cellpose 4.2.1.1, models.py (`_MODEL_URL`, `MODEL_NAMES`).
purposes, channels, training diameters
    docs/models.rst of cellpose 3.1.1.1 and 4; for restoration `DenoiseModel` in denoise.py.
licences
    BSD-3-Clause, as Cellpose's authors say in its issue 192 and on the page of the weights of
    Cellpose-SAM; the note on their data is that of the READMEs of cellpose 3.1.1.3 and 4.2.1.1.
    Scellseg: the two licences in its source package.
bytes and SHA-256
    Cellpose publishes none. Those given here are reported alike by at least two unrelated public
    projects that record what they downloaded. Where none is given, the file is held against what
    the server says of it and its digest is recorded (see fetch.py).
    Scellseg: of the files in its source package, whose own digest PyPI publishes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it loads compiled code, for which a mere listing should not wait
    from bigseg.core.representations import Name

CELLPOSE3 = "https://www.cellpose.org/models/"
CELLPOSE4 = "https://huggingface.co/mouseland/cellpose-sam/resolve/main/"

BSD = "BSD-3-Clause"
BSD_NC = "BSD-3-Clause; trained on some CC-BY-NC data"

UNET = "Cellpose residual U-Net"
SAM = "Cellpose-SAM"
SCELLSEG = "Scellseg network"
RESTORER = "Cellpose restoration network"
SIZER = "Cellpose size model"

CELLS = ("cells", "nuclei")


@dataclass(frozen=True)
class Archive:
    """A source package on PyPI that holds weights; it is never installed."""

    name: str
    url: str
    sha256: str
    bytes: int


SCELLSEG_SOURCE = Archive(
    "scellseg==0.1.8",
    "https://files.pythonhosted.org/packages/ec/21/"
    "db683293845d6df1bc29c549b60931b5de7f8cfb321ad51f01cccd90c369/scellseg-0.1.8.tar.gz",
    "084c5f1b12d0d97f0c3d0880ae579c1b7c4f7dea2203486bd11ba4c640a92d3c",
    101_599_098,
)


@dataclass(frozen=True)
class Published:
    """A model that somebody published."""

    name: str
    """What it is called here, and its file in the cache."""
    purpose: str
    architecture: str
    licence: str
    channels: tuple[str, ...]
    """What the channels of its input show; empty for a size model."""
    source: str
    """URL of the file, or its path in the archive."""
    diameter: float = 30.0
    """Pixels that objects were resized to for its training."""
    archive: Archive | None = None
    bytes: int | None = None
    """Size of the file, where it is known beforehand."""
    sha256: str | None = None
    size_model: str | None = None
    """Name of the model that estimates the diameter for this one."""
    representation: Name = "flows"
    """What its outputs mean."""
    threshold: float | None = None
    """Logit of an object that its publisher uses; None: that of the representation."""

    @property
    def filename(self) -> str:
        """What its publisher calls the file."""
        return self.source.rpartition("/")[2]

    @property
    def origin(self) -> str:
        """Where it comes from, in one word."""
        return self.source if self.archive is None else f"pypi:{self.archive.name}/{self.source}"


BUNDLED = Published(
    name="nuclei",
    purpose="nuclei in fluorescence, 2D and 3D; comes with bigseg",
    architecture=UNET,
    licence="MIT",
    channels=("nuclei",),
    source="bigseg/models/nuclei.safetensors",
    diameter=18.0,
    bytes=3_352_858,
)
"""The model in this package; its model card is bigseg/models/README.md."""


def _segmenting() -> tuple[Published, ...]:
    return (
        Published(
            name="cpsam_v2",
            purpose="cells and nuclei of any kind; Cellpose 4's default",
            architecture=SAM,
            licence=BSD_NC,
            channels=("any", "any", "any"),
            source=f"{CELLPOSE4}cpsam_v2",
            bytes=1_233_586_851,
            sha256="0f1cc3f7ecdd8a037a57c6c48d9d8921391be4cbce3fa9f13c3e3a2e1253c667",
        ),
        Published(
            name="cpsam",
            purpose="cells and nuclei of any kind; the first Cellpose-SAM",
            architecture=SAM,
            licence=BSD_NC,
            channels=("any", "any", "any"),
            source=f"{CELLPOSE4}cpsam",
            bytes=1_233_587_898,
            sha256="e1440429eb384f95afe32bcba6510f90d518eaedc917ede549bed6804004abe2",
        ),
        Published(
            name="cyto3",
            purpose="cells of many kinds, trained on nine data sets",
            architecture=UNET,
            licence=BSD_NC,
            channels=CELLS,
            source=f"{CELLPOSE3}cyto3",
            bytes=26_566_255,
            sha256="2dc3087a8abd7da46d1ab0ddd5824639933cc3ff63b382af3fa1939a392db93c",
            size_model="size_cyto3",
        ),
        Published(
            name="cyto2",
            purpose="cells; Cellpose's data and images that users sent",
            architecture=UNET,
            licence=BSD_NC,
            channels=CELLS,
            source=f"{CELLPOSE3}cyto2torch_0",
            size_model="size_cyto2",
        ),
        Published(
            name="cyto",
            purpose="cells; Cellpose's first data",
            architecture=UNET,
            licence=BSD_NC,
            channels=CELLS,
            source=f"{CELLPOSE3}cytotorch_0",
            size_model="size_cyto",
        ),
        # Its publisher calls it "nuclei", which is the model that comes with bigseg.
        Published(
            name="cellpose_nuclei",
            purpose="nuclei; Cellpose's 'nuclei'",
            architecture=UNET,
            licence=BSD_NC,
            channels=("nuclei",),
            source=f"{CELLPOSE3}nucleitorch_0",
            diameter=17.0,
            bytes=26_563_614,
            sha256="89ca45e4a45048d5010d29621466b1274b91b3dcb9714dce9f9e90a9a8671303",
            size_model="size_cellpose_nuclei",
        ),
    )


SPECIAL = {
    "cyto2_cp3": ("cells; Cellpose's data alone", BSD_NC),
    "tissuenet_cp3": ("cells in tissue; TissueNet", BSD_NC),
    "livecell_cp3": ("living cells in phase contrast; LIVECell", BSD_NC),
    "yeast_PhC_cp3": ("yeast in phase contrast; YeaZ", BSD),
    "yeast_BF_cp3": ("yeast in bright field; YeaZ", BSD),
    "bact_phase_cp3": ("bacteria in phase contrast; Omnipose's data", BSD_NC),
    "bact_fluor_cp3": ("bacteria in fluorescence; Omnipose's data", BSD_NC),
    "deepbacs_cp3": ("bacteria; DeepBacs", BSD),
}
"""Models of Cellpose 3 for one data set each: purpose and licence."""

RESTORING = {
    "denoise": "removes noise",
    "deblur": "removes blur",
    "upsample": "enlarges images of small objects",
    "oneclick": "removes noise and blur, enlarges",
}
"""Restoration of Cellpose 3: what each kind does."""

TRAINED_FOR = {
    "cyto3": ("cells of many kinds", 30.0),
    "cyto2": ("cells", 30.0),
    "nuclei": ("nuclei", 17.0),
}
"""What restoration was trained on, and the diameter of the objects."""


def _special() -> tuple[Published, ...]:
    return tuple(
        Published(name, purpose, UNET, licence, CELLS, CELLPOSE3 + name)
        for name, (purpose, licence) in SPECIAL.items()
    )


def _restoring() -> tuple[Published, ...]:
    kinds = [
        (f"{kind}_{what}", f"{does}: {of}", diameter)
        for what, (of, diameter) in TRAINED_FOR.items()
        for kind, does in RESTORING.items()
    ]
    kinds += [
        (f"aniso_{what}", f"sharpens planes across z: {of}", diameter)
        for what, (of, diameter) in TRAINED_FOR.items()
        if what != "cyto3"
    ]
    return tuple(
        Published(name, purpose, RESTORER, BSD_NC, ("any",), CELLPOSE3 + name, diameter)
        for name, purpose, diameter in kinds
    )


def _sizing() -> tuple[Published, ...]:
    names = {"cyto3": "cyto3", "cyto2": "cyto2torch_0", "cyto": "cytotorch_0"}
    names["cellpose_nuclei"] = "nucleitorch_0"
    return tuple(
        Published(
            name=f"size_{name}",
            purpose=f"diameter of objects, for {name}",
            architecture=SIZER,
            licence=BSD_NC,
            channels=(),
            source=f"{CELLPOSE3}size_{file}.npy",
            diameter=17.0 if name == "cellpose_nuclei" else 30.0,
        )
        for name, file in names.items()
    )


def _scellseg() -> tuple[Published, ...]:
    rows = (
        (
            "scellseg",
            "cells, to be adapted to a style with few images; Scellseg",
            "scellseg",
            28_101_351,
            "37bd9eb7805ea4389dd0eb9e3f5afca8889b42e22daaf8cc0478bd14d5bb24db",
        ),
        (
            "scellseg_cellpose",
            "cells; Cellpose as pre-trained for Scellseg",
            "cellpose",
            26_568_295,
            "70885242cf9720cabd973fca8b014010e69609924b5f9fe007ae37198220b4e9",
        ),
        (
            "scellseg_hover",
            "cells; HoVer maps, as pre-trained for Scellseg",
            "hover",
            26_858_855,
            "66253db62cb7f470a9652e0848984b6227eafb2813bf0c638ea0692df0ad40c9",
        ),
        (
            "size_scellseg",
            "diameter of objects, for scellseg",
            "size_compute.npy",
            5_351,
            "87bcf523c13d72e61a99358babe531f67b3f0eca466eb4b6616d1430caeeebee",
        ),
    )
    return tuple(
        Published(
            name=name,
            purpose=purpose,
            architecture=SIZER if file.endswith(".npy") else SCELLSEG,
            licence=BSD_NC,
            channels=() if file.endswith(".npy") else CELLS,
            source=f"scellseg/assets/pretrained_models/{file}",
            archive=SCELLSEG_SOURCE,
            bytes=size,
            sha256=sha256,
            size_model=None if file.endswith(".npy") else "size_scellseg",
            representation="hover" if name.endswith("hover") else "flows",
            threshold=0.5,
        )
        for name, purpose, file, size, sha256 in rows
    )


PUBLISHED = {
    model.name: model
    for model in (*_segmenting(), *_special(), *_scellseg(), *_restoring(), *_sizing())
}
"""Published models that can be fetched, by name."""
