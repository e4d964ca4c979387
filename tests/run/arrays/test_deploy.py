"""The scripts in deploy/ are those that `bigseg jobs` writes."""

import importlib.util
import subprocess
from pathlib import Path

DEPLOY = Path(__file__).parents[3] / "deploy"


def test_scripts_of_deploy_are_those_that_are_written() -> None:
    spec = importlib.util.spec_from_file_location("generate_jobs", DEPLOY / "generate_jobs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.scripts()
    assert len(made) == 16
    for path, text in made.items():
        assert path.read_text() == text, "run python deploy/generate_jobs.py"
        subprocess.run(["bash", "-n", path], check=True)
        assert (path.parent / "README.md").exists()
