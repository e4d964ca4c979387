"""Published models: what each is for, and where it comes from.

Where the facts come from
-------------------------
addresses, names of files
    cellpose 3.1.1.3, models.py (`_MODEL_URL`, `model_path`, `size_model_path`) and denoise.py
    (`MODEL_NAMES`); cellpose 4.2.1.1, models.py (`_MODEL_URL`, `MODEL_NAMES`); docs/models.rst of
    cellpose 3.1.1.3 (models of Cellpose 2).
purposes, channels, training diameters
    docs/models.rst of cellpose 2.2.3, 3.1.1.1 and 4; for restoration `DenoiseModel` in denoise.py;
    for transformers and the NeurIPS challenge paper/3.0 and paper/neurips of cellpose 3.1.1.3.
licences
    BSD-3-Clause, as Cellpose's authors say in its issue 192 and on the page of the weights of
    Cellpose-SAM; the note on their data is that of the READMEs of cellpose 3.1.1.3 and 4.2.1.1.
    CP-DINO was trained from weights of DINOv3, whose licence covers what is derived from them.
bytes and SHA-256
    Cellpose publishes none. Those given here are reported alike by at least two unrelated public
    projects that record what they downloaded. Where none is given, the file is held against what
    the server says of it and its digest is recorded (see fetch.py).
"""

from __future__ import annotations

from bigseg.nets.publication import (
    BSD_NC,
    CELLS,
    DINO,
    RESTORER,
    SAM,
    SIZER,
    TRANSFORMER,
    UNET,
    Published,
)
from bigseg.nets.published_scellseg import scellseg_models

CELLPOSE3 = "https://www.cellpose.org/models/"
CELLPOSE4 = "https://huggingface.co/mouseland/cellpose-sam/resolve/main/"

BSD = "BSD-3-Clause"
BSD_DINO = "BSD-3-Clause and DINOv3 License; trained on some CC-BY-NC data"

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


ANY_CELLS = "cells and nuclei of any kind"


def _of_any_cells() -> tuple[Published, ...]:
    rows = (
        (
            "cpsam_v2",
            "Cellpose 4's default",
            SAM,
            1_233_586_851,
            "0f1cc3f7ecdd8a037a57c6c48d9d8921391be4cbce3fa9f13c3e3a2e1253c667",
        ),
        (
            "cpsam",
            "the first Cellpose-SAM",
            SAM,
            1_233_587_898,
            "e1440429eb384f95afe32bcba6510f90d518eaedc917ede549bed6804004abe2",
        ),
        ("cpdino", "Cellpose 4 on DINOv3 instead of SAM", DINO, None, None),
        (
            "cpdino-vitb",
            "like cpdino, of a third of its size",
            DINO,
            343_599_997,
            "3ed4c06a3963ab13ff377d4e2957174aaaf637434eb031ae9931fcbfaf9a217f",
        ),
    )
    return tuple(
        Published(
            name=name,
            purpose=f"{ANY_CELLS}; {what}",
            architecture=architecture,
            licence=BSD_NC if architecture == SAM else BSD_DINO,
            channels=("any", "any", "any"),
            source=f"{CELLPOSE4}{name}",
            bytes=size,
            sha256=sha256,
        )
        for name, what, architecture, size, sha256 in rows
    )


def _segmenting() -> tuple[Published, ...]:
    return (
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

STYLED = {
    "tissuenet": ("cells in tissue; TissueNet, Cellpose 2", CELLS),
    "livecell": ("living cells in phase contrast; LIVECell, Cellpose 2", CELLS[:1]),
    "general": ("cells; Cellpose's data, TissueNet and LIVECell, Cellpose 2", CELLS),
    **dict.fromkeys(("CP", "CPx"), ("cells of one style; Cellpose 2", CELLS)),
    **dict.fromkeys(
        ("TN1", "TN2", "TN3"),
        ("cells in tissue of one style; part of TissueNet, Cellpose 2", CELLS),
    ),
    **dict.fromkeys(
        ("LC1", "LC2", "LC3", "LC4"),
        ("living cells of one style; part of LIVECell, Cellpose 2", CELLS[:1]),
    ),
}
"""Models of Cellpose 2: purpose and channels."""

TRANSFORMERS_AND_CHALLENGE = (
    ("transformer_cp3", "cells of many kinds; a transformer trained as cyto3", TRANSFORMER, CELLS),
    (
        "neurips_cellpose_transformer",
        "cells in colour, grey as 0,0,0; a transformer, NeurIPS challenge",
        TRANSFORMER,
        ("any", "any", "any"),
    ),
    (
        "neurips_cellpose_default",
        "cells in colour, grey as 0,0,0; NeurIPS challenge",
        UNET,
        ("any", "any", "any"),
    ),
    ("neurips_grayscale_cyto2", "cells in grey; NeurIPS challenge", UNET, CELLS[:1]),
)
"""Further models of Cellpose 3: name, purpose, architecture and channels."""

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


def _further() -> tuple[Published, ...]:
    rows = [(name, purpose, UNET, channels) for name, (purpose, channels) in STYLED.items()]
    return tuple(
        Published(name, purpose, architecture, BSD_NC, channels, CELLPOSE3 + name)
        for name, purpose, architecture, channels in (*TRANSFORMERS_AND_CHALLENGE, *rows)
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


PUBLISHED = {
    model.name: model
    for rows in (
        _of_any_cells,
        _segmenting,
        _special,
        _further,
        scellseg_models,
        _restoring,
        _sizing,
    )
    for model in rows()
}
"""Published models that can be fetched, by name."""
