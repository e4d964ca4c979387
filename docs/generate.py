"""Write the reference pages that come from the code.

python docs/generate.py            # write docs/reference/{cli,settings,python,models}.md
python docs/generate.py --check    # say which of them are out of date
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer

import bigseg
from bigseg.cli.app import app
from bigseg.core.representations import THRESHOLDS
from bigseg.nets.publication import RESTORER, SIZER, Published
from bigseg.nets.published import BUNDLED, PUBLISHED
from bigseg.specs.segment import SegmentSpec

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Made by docs/generate.py of the code; change the code, then run it. -->\n"
MARKUP = re.compile(r"\[/?(?:bold|dim|italic)\]")
TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
}
EXAMPLE = """\
import bigseg

if __name__ == "__main__":
    result = bigseg.segment("nuclei.zarr", model="nuclei", diameter=20, cluster="threads")
    print(result.objects, "objects in", result.labels)
    print(bigseg.evaluate(result.labels, "nuclei_truth.tif").text())
"""
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def cli_page() -> str:
    """All commands, their arguments, options and examples."""
    commands = dict(_commands(typer.main.get_command(app)))
    rows = [
        f"| [`bigseg {name}`](#bigseg-{name.replace(' ', '-')}) | {_first(c.help)} |"
        for name, c in commands.items()
    ]
    head = (
        "# Commands\n\n"
        f"{NOTE}\n"
        "Errors are one sentence on stderr, and the exit code is 1 (2 for a mistake in the command "
        "line, 130 after Ctrl-C). What a command found is on stdout; progress is on stderr.\n\n"
        "| command | |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    )
    return head + "".join(_command(name, command) for name, command in commands.items())


def _commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Commands of a group by name, each followed by its own."""
    for name, command in group.commands.items():
        yield prefix + name, command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")


def _command(name: str, command: Any) -> str:
    arguments = [p for p in command.params if not p.opts[0].startswith("-")]
    options = [p for p in command.params if p.opts[0].startswith("-")]
    usage = " ".join(["bigseg", name, *map(_usage, arguments), "[OPTIONS]"])
    text = f"\n## bigseg {name}\n\n{command.help.strip()}\n\n```text\n{usage}\n```\n"
    for title, chosen in (("argument", arguments), ("option", options)):
        if not chosen:
            continue
        text += f"\n| {title} | default | |\n| --- | --- | --- |\n"
        text += "".join(f"| {_spelled(p)} | {_default(p)} | {_cell(p.help)} |\n" for p in chosen)
    examples = MARKUP.sub("", command.epilog or "").replace("\\[", "[").replace("\b\n", "")
    lines = [line.strip() for line in examples.splitlines()[1:]]
    return f"{text}\nExamples:\n\n```text\n" + "\n".join(lines) + "\n```\n"


def _usage(argument: Any) -> str:
    name = f"{argument.metavar}{'…' if argument.nargs == -1 else ''}"
    return name if argument.required else f"[{name}]"


def _spelled(param: Any) -> str:
    if not param.opts[0].startswith("-"):
        return f"`{param.metavar}`"
    value = "" if param.is_flag else " " + (param.metavar or "VALUE").replace("|", r"\|")
    return ", ".join(f"`{name}{value}`" for name in param.opts)


def _default(param: Any) -> str:
    if param.required:
        return "needed"
    if isinstance(param.show_default, str):
        return param.show_default
    plain = getattr(param.default, "value", param.default)
    return "" if plain is None or plain is False else f"{plain}"


def settings_page() -> str:
    """All settings of a segmentation."""
    properties = SegmentSpec.model_json_schema()["properties"]
    told = attribute_docs(SegmentSpec)
    rows = [
        f"| `{name}` | {kind(properties[name])} | {_value(field)} | {_cell(told[name])} |"
        for name, field in SegmentSpec.model_fields.items()
    ]
    return (
        "# Settings of a segmentation\n\n"
        f"{NOTE}\n"
        "The same names are options of [`bigseg segment`](cli.md#bigseg-segment) (with dashes), "
        "keywords of [`bigseg.segment`](python.md), keys of a `--config` file, and what `run.json` "
        "remembers. An unknown name or a value out of range is refused in a sentence.\n\n"
        "| setting | kind | default | |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n\n"
        "A `--config` file is TOML; options on the command line win over it:\n\n"
        "```toml file=settings.toml\n"
        'model = "nuclei"\n'
        "diameter = 20\n"
        "percentiles = [0.5, 99.5]\n"
        "block = [256, 256]\n"
        "```\n\n"
        "```bash\n"
        "bigseg segment nuclei.zarr --config settings.toml --min-size 30 --dry-run\n"
        "```\n"
    )


def kind(schema: dict[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    if "anyOf" in schema:
        parts = [kind(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return f"{len(schema['prefixItems'])} × {kind(schema['prefixItems'][0])}"
        return f"list: {kind(schema['items'])}"
    limits = [f"{sign} {schema[key]:g}" for key, sign in LIMITS.items() if key in schema]
    return f"{TYPES[schema['type']]} {', '.join(limits)}".strip()


def _value(field: Any) -> str:
    if field.is_required():
        return "needed"
    if field.default is None:
        return ""
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def models_page() -> str:
    """What is assumed of each published model when nothing else is said."""
    head = (
        "# Models\n\n"
        f"{NOTE}\n"
        "What is assumed of each model unless an option says otherwise. Diameters are pixels that "
        "objects are resized to; `--diameter` says how wide they are in the image, and without it "
        "they are taken to be that wide already. Of weights of your own, all this is read from the "
        "file. [How to fetch them](../how-to/models.md); `bigseg models` shows sizes and licences."
        "\n\n"
        "| model | what for | network | channels | diameter | outputs mean | logit of an object "
        "| size model |\n| --- | --- | --- | --- | ---: | --- | ---: | --- |\n"
    )
    segmenting = (m for m in (BUNDLED, *PUBLISHED.values()) if m.architecture != SIZER)
    return head + "".join(_model(model) for model in segmenting)


def _model(model: Published) -> str:
    restores = model.architecture == RESTORER
    threshold = THRESHOLDS[model.representation] if model.threshold is None else model.threshold
    cells = (
        f"`{model.name}`",
        model.purpose,
        model.architecture,
        ", ".join(model.channels),
        f"{model.diameter:g}",
        "an image" if restores else model.representation,
        "" if restores else f"{threshold:g}",
        f"`{model.size_model}`" if model.size_model else "none",
    )
    return f"| {' | '.join(cells)} |\n"


def python_page() -> str:
    """The public names."""
    names = [n for n in bigseg.__all__ if not n.startswith("_")]
    functions = [n for n in names if inspect.isfunction(getattr(bigseg, n))]
    classes = [n for n in names if inspect.isclass(getattr(bigseg, n))]
    text = (
        "# Python\n\n"
        f"{NOTE}\n"
        "Everything is imported from `bigseg`. Errors that a user can act on are "
        "`bigseg.errors.BigsegError`, in a sentence.\n\n"
        f"```python\n{EXAMPLE}```\n\n"
        'A script that segments with worker processes (`cluster=None` or `"local"`) needs the line '
        "with `__main__`: each worker process imports the script. Notebooks do not, nor do "
        '`"threads"` and `"serial"`.\n'
    )
    for name in functions:
        function = getattr(bigseg, name)
        call = f"bigseg.{name}{_signature(function)}"
        text += f"\n## {name}\n\n```text\n{_broken(call)}\n```\n\n{markdown(function.__doc__)}\n"
    for name in classes:
        one = getattr(bigseg, name)
        text += f"\n## {name}\n\n{markdown(one.__doc__)}\n\n"
        if one is SegmentSpec:
            text += "Its fields are the [settings](settings.md).\n"
        else:
            told = attribute_docs(one)
            fields = (
                f"- `{n}` ({a}){': ' + told[n] if n in told else ''}" for n, a in fields_of(one)
            )
            text += "\n".join(fields) + "\n"
    return text


def _signature(function: Any) -> str:
    """Parameters and result as they are written, defaults by their names."""
    definition = ast.parse(inspect.getsource(function)).body[0]
    arguments, result = definition.args, definition.returns  # type: ignore[attr-defined]
    written = re.sub(r"(: [^=,]+)=", r"\1 = ", ast.unparse(arguments))
    return f"({written}) -> {ast.unparse(result)}"


def _broken(call: str) -> str:
    """One parameter a line, if the call is long."""
    if len(call) <= 90:
        return call
    head, _, rest = call.partition("(")
    parameters, _, result = rest.rpartition(") -> ")
    return f"{head}(\n    " + ",\n    ".join(_split(parameters)) + f",\n) -> {result}"


def _split(parameters: str) -> Iterator[str]:
    depth, start = 0, 0
    for at, letter in enumerate(parameters):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            yield parameters[start:at].strip()
            start = at + 1
    yield parameters[start:].strip()


def fields_of(one: type) -> Iterator[tuple[str, str]]:
    """Fields of a class and of its bases, with their annotations as written."""
    for base in reversed(one.__mro__):
        yield from ((n, str(a)) for n, a in vars(base).get("__annotations__", {}).items())


def attribute_docs(one: type) -> dict[str, str]:
    """Strings below the fields of a class, which Python itself forgets."""
    told: dict[str, str] = {}
    for base in reversed(one.__mro__):
        if not base.__module__.startswith("bigseg"):
            continue
        body = ast.parse(inspect.getsource(base)).body[0].body  # type: ignore[attr-defined]
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                told[ast.unparse(field.target)] = str(ast.literal_eval(text.value))
    return told


def markdown(docstring: str | None) -> str:
    """A numpydoc docstring as Markdown."""
    text = inspect.cleandoc(docstring or "").replace("``", "`")
    text = re.sub(r"^(\w+)\n-{3,}\n", r"**\1**\n\n", text, flags=re.M)
    head, *sections = re.split(r"^(?=\*\*\w+\*\*\n)", text, flags=re.M)
    return head + "".join(map(_section, sections))


def _section(text: str) -> str:
    """Entries of a section as a list: a name, and what is indented below it."""
    title, _, body = text.partition("\n\n")
    if "\n    " not in body:
        return text
    entries = re.findall(r"^(\S.*)\n((?:(?: {4}.*)?\n?)+)", body, flags=re.M)
    items = (f"- `{n.strip()}`: {' '.join(b.split())}" for n, b in entries)
    return f"{title}\n\n" + "\n".join(items) + "\n\n"


def _first(text: str) -> str:
    return text.strip().splitlines()[0]


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", r"\|")


def pages() -> dict[Path, str]:
    """Content of each generated page."""
    made = {
        "cli": cli_page(),
        "settings": settings_page(),
        "python": python_page(),
        "models": models_page(),
    }
    return {REFERENCE / f"{name}.md": tidy(text) for name, text in made.items()}


def tidy(text: str) -> str:
    """No blanks at ends of lines, one empty line at most, one newline at the end."""
    text = re.sub(r"[ \t]+$", "", text, flags=re.M)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def outdated() -> list[str]:
    """Names of the pages that are not what the code says."""
    found = pages().items()
    return [p.name for p, text in found if not p.exists() or p.read_text("utf-8") != text]


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them."""
    if "--check" in arguments:
        stale = outdated()
        sys.stderr.writelines(f"docs/reference/{n}: run python docs/generate.py\n" for n in stale)
        return 1 if stale else 0
    for path, text in pages().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
