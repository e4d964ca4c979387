"""Where objects are going: what links, and the drift of the whole image, tell of the next step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bigseg.core.tracking.detections import Detections, Floats, Ints


@dataclass(frozen=True, slots=True)
class Motion:
    """Displacement over one frame, predicted from either side; a link takes the mean of both."""

    ahead: Floats
    """(n, 3) from this detection, as told by what comes before."""
    behind: Floats
    """(n, 3) into this detection, as told by what comes after."""

    def take(self, rows: Ints) -> Motion:
        """Return the rows of a part."""
        return Motion(self.ahead[rows], self.behind[rows])


def still(d: Detections) -> Motion:
    """Nothing is known: everything stays where it is."""
    return Motion(np.zeros((len(d), 3)), np.zeros((len(d), 3)))
