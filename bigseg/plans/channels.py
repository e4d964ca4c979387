"""Which channels of an image a model is shown, however people name them."""

from __future__ import annotations

from collections.abc import Sequence

from bigseg.errors import SpecError
from bigseg.io.volume import Volume
from bigseg.nets.weights import Model

GREY = ("grey", "gray")
CELLPOSE = ("cells", "nuclei")
"""What Cellpose's residual U-Nets of two channels are shown, and Scellseg's."""
SYNONYMS = {
    "cells": ("cells", "cell", "cyto", "cytoplasm", "membrane"),
    "nuclei": ("nuclei", "nucleus", "nuclear"),
}


def resolve_channels(
    wanted: Sequence[int | str] | None, volume: Volume, model: Model
) -> tuple[tuple[int, ...], bool]:
    """Numbers of the channels in the model's order, and whether they are averaged to grey.

    Parameters
    ----------
    wanted
        Numbers or names of channels in the model's order; or `role=channel`, as cyto=2, nuclei=0;
        or "grey", the mean of all channels; or "rgb", the first three. None: as many as the model
        takes if their order does not matter to it, else the first.
    volume
        The image.
    model
        The model.

    Raises
    ------
    NotFound
        If the image has no such channel; the message lists what it has.
    SpecError
        If the model cannot be shown that.
    """
    count = volume.shape[1]
    asked = [str(channel) for channel in wanted or ()]
    if not asked:
        free = "any" in model.roles or model.any_channels
        return tuple(range(min(count, model.channels) if free else 1)), False
    word = "" if len(asked) > 1 or asked[0] in volume.image.channels else asked[0].lower()
    if word in GREY:
        return tuple(range(count)), count > 1
    if word == "rgb":
        asked = ["0", "1", "2"]
    if any("=" in channel for channel in asked):
        asked = _by_role(asked, model)
    numbers = tuple(volume.image.channel(channel) for channel in asked)
    # A file may have more inputs than its publisher uses: those were empty in training.
    most = len(model.roles) or model.channels
    if len(numbers) > most:
        roles = f" ({', '.join(model.roles)})" if model.roles else ""
        raise SpecError(
            f"Model '{model.name}' takes {most} channel(s){roles}, "
            f"but {len(numbers)} are given: {', '.join(asked)}."
        )
    return numbers, False


def _by_role(asked: Sequence[str], model: Model) -> list[str]:
    """Put channels given as role=channel in the model's order."""
    roles = model.roles or (CELLPOSE if model.channels == 2 else ())
    chosen: dict[str, str] = {}
    for one in asked:
        role, _, channel = one.partition("=")
        if not channel:
            raise SpecError(
                f"--channels mixes '{one}' with role=channel; name the role of every channel, "
                "or of none."
            )
        known = next((r for r in roles if role.lower() in SYNONYMS.get(r, (r,))), None)
        known = role if "any" in roles or not roles else known
        if known is None:
            raise SpecError(
                f"Model '{model.name}' has no channel for '{role}'; it is shown {', '.join(roles)}."
            )
        if known in chosen:
            raise SpecError(f"--channels names the {known} of model '{model.name}' twice.")
        chosen[known] = channel
    if not roles or "any" in roles:
        return list(chosen.values())
    missing = [role for role in roles[: len(chosen)] if role not in chosen]
    if missing:
        raise SpecError(
            f"Model '{model.name}' must be shown {missing[0]} first; add {missing[0]}=CHANNEL, "
            "or give that channel alone."
        )
    return [chosen[role] for role in roles if role in chosen]
