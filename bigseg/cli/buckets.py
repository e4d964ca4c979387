"""Options that all commands have: how buckets are reached."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from bigseg.storage import current, use

Endpoint = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Address of the S3, GCS or Azure service, if it is not the cloud's own.",
        show_default="BIGSEG_ENDPOINT",
        rich_help_panel="Buckets",
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Profile in AWS' configuration files.",
        show_default="BIGSEG_PROFILE",
        rich_help_panel="Buckets",
    ),
]
Anonymous = Annotated[
    bool,
    typer.Option(
        "--anonymous",
        help="Send no credentials: for public buckets.",
        rich_help_panel="Buckets",
    ),
]
OPTIONS: dict[str, tuple[Any, Any]] = {
    "endpoint": (Endpoint, None),
    "profile": (Profile, None),
    "anonymous": (Anonymous, False),
}


def reach_buckets(app: typer.Typer) -> None:
    """Give all commands of `app`, and of those in it, the options of buckets."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _reaching(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            reach_buckets(group.typer_instance)


def _reaching(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with three more options, which say how this process reaches buckets."""
    hints = get_type_hints(function, include_extras=True)
    known = inspect.signature(function).parameters.values()
    own = [p.replace(annotation=hints.get(p.name, p.annotation)) for p in known]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in OPTIONS.items()
    ]

    @wraps(function)
    def reaching(*args: Any, **kwargs: Any) -> Any:
        said = {name: value for name in OPTIONS if (value := kwargs.pop(name))}
        if said:
            use(replace(current(), **said))
        return function(*args, **kwargs)

    del reaching.__wrapped__  # typer would read the signature of what is wrapped
    reaching.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]
    reaching.__annotations__ = {p.name: p.annotation for p in [*own, *more]}
    return reaching
