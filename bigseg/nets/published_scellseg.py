"""Published models of Scellseg, which lie in its source package on PyPI.

Licences are the two in the package; bytes and SHA-256 are of the files in it, whose own digest PyPI
publishes.
"""

from __future__ import annotations

from bigseg.nets.publication import BSD_NC, CELLS, SCELLSEG, SIZER, Archive, Published

SCELLSEG_SOURCE = Archive(
    "scellseg==0.1.8",
    "https://files.pythonhosted.org/packages/ec/21/"
    "db683293845d6df1bc29c549b60931b5de7f8cfb321ad51f01cccd90c369/scellseg-0.1.8.tar.gz",
    "084c5f1b12d0d97f0c3d0880ae579c1b7c4f7dea2203486bd11ba4c640a92d3c",
    101_599_098,
)


def scellseg_models() -> tuple[Published, ...]:
    """Three networks, and the size model of the first two."""
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
