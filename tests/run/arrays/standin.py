"""Batch systems that are not there: `bsub` and `qsub` that run each job at once, and are strict.

A job sees what the real ones give it: a script copied elsewhere, another working directory, none of
the submitter's variables but those it was asked to pass, and the system's own index. A job whose
predecessors failed does not run, except on SGE, which does not look at how they ended.

usage: standin.py lsf|pbs|sge, then what `bsub` or `qsub` is given
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

STATE = Path(os.environ["STANDIN_STATE"])


def main(system: str, arguments: list[str]) -> None:
    number = len(list(STATE.glob("*.job"))) + 1
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", required=True)
    options, script = {"lsf": lsf, "pbs": pbs, "sge": sge}[system](parser, arguments)
    directives = re.findall(rf"^{re.escape(options.prefix)} (.*)$", script, re.M)
    failed = [p for p in options.after if (STATE / f"{p}.job").read_text() != "ok"]
    if failed and system != "sge":
        result = "never ran"
    else:
        codes = [run(number, i, script, options) for i in options.indices]
        result = "failed" if any(codes) else "ok"
    (STATE / f"{number}.job").write_text(result)
    (STATE / f"{number}.directives").write_text("\n".join(directives))
    sys.stdout.write(options.answer.format(number) + "\n")


def lsf(parser: argparse.ArgumentParser, arguments: list[str]) -> tuple[argparse.Namespace, str]:
    parser.add_argument("-J", required=True)
    parser.add_argument("-w", default="")
    parser.add_argument("-ti", action="store_true")
    parser.add_argument("-env", required=True)
    options = parser.parse_args(arguments)
    found = re.fullmatch(r"[\w-]+\[1-(\d+)\](%\d+)?", options.J)
    assert found, options.J
    assert not options.w or re.fullmatch(r"done\(\d+\)( && done\(\d+\))*", options.w), options.w
    passed = re.fullmatch(r"all, (FIRST=\d+)", options.env)
    assert passed, options.env
    options.after = re.findall(r"\d+", options.w)
    options.indices = range(1, int(found[1]) + 1)
    options.index, options.place, options.prefix = "LSB_JOBINDEX", "%I", "#BSUB"
    options.variables = {**os.environ, "FIRST": passed[1].partition("=")[2]}
    options.answer = "Job <{}> is submitted to default queue <normal>."
    return options, sys.stdin.read()


def pbs(parser: argparse.ArgumentParser, arguments: list[str]) -> tuple[argparse.Namespace, str]:
    parser.add_argument("-J", default="")
    parser.add_argument("-W", default="")
    parser.add_argument("-v", required=True)
    parser.add_argument("script")
    options = parser.parse_args(arguments)
    found = re.fullmatch(r"1-(\d+)(%\d+)?", options.J)
    assert not options.J or (found and int(found[1]) > 1), "an array of one task is refused"
    after = re.fullmatch(r"depend=afterok((:\d+(\[\])?\.head)+)", options.W)
    assert not options.W or after, options.W
    options.after = re.findall(r":(\d+)", after[1]) if after else []
    options.indices = range(1, int(found[1]) + 1) if found else [None]
    options.index, options.place, options.prefix = "PBS_ARRAY_INDEX", "^array_index^", "#PBS"
    options.variables = bare(options.v)
    options.answer = "{}[].head" if found else "{}.head"
    return options, Path(options.script).read_text()


def sge(parser: argparse.ArgumentParser, arguments: list[str]) -> tuple[argparse.Namespace, str]:
    parser.add_argument("-terse", action="store_true", required=True)
    parser.add_argument("-t", required=True)
    parser.add_argument("-tc", type=int)
    parser.add_argument("-hold_jid", default="")
    parser.add_argument("-v", required=True)
    parser.add_argument("script")
    options = parser.parse_args(arguments)
    found = re.fullmatch(r"1-(\d+)", options.t)
    assert found, options.t
    options.after = re.findall(r"\d+", options.hold_jid)
    options.indices = range(1, int(found[1]) + 1)
    options.index, options.place, options.prefix = "SGE_TASK_ID", "$TASK_ID", "#$"
    options.variables = bare(options.v)
    options.answer = "{}." + options.t + ":1"
    return options, Path(options.script).read_text()


def bare(variables: str) -> dict[str, str]:
    return dict(part.split("=") for part in variables.split(",")) | {"PATH": "/usr/bin:/bin"}


def run(number: int, index: int | None, script: str, options: argparse.Namespace) -> int:
    variables = dict(options.variables)
    if index is not None:
        variables[options.index] = str(index)
    with tempfile.TemporaryDirectory() as spool:
        copy = Path(spool, f"{number}.script")
        copy.write_text(script)
        log = Path(options.o.replace(options.place, str(index)))
        with log.open("ab") as out:
            done = subprocess.run(["bash", copy], cwd="/", env=variables, stdout=out, stderr=out)
            if done.returncode:
                out.write(f"Job {number} task {index} ended with {done.returncode}\n".encode())
    return done.returncode


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
