"""Command of the training: `python -m bigseg.train DATA OUTPUT`."""

from __future__ import annotations

from pathlib import Path

import typer

from bigseg.train.loop import Settings, train


def main(
    data: Path,
    output: Path,
    steps: int = 4500,
    learning_rate: float = 3e-3,
    seed: int = 0,
    full_width: bool = False,
    initial: Path | None = None,
) -> None:
    """Train the nuclei network that bigseg ships.

    Example: python -m bigseg.train DATA training/nuclei --steps 4500
    """
    widths = (2, 32, 64, 128, 256) if full_width else (2, 16, 32, 64, 128)
    settings = Settings(widths=widths, steps=steps, learning_rate=learning_rate, seed=seed)
    train(data, output, settings, initial)


typer.run(main)
