"""How buckets are reached: said once, inherited by processes, carried to workers; no secrets."""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bigseg import files, storage
from bigseg.cli import main
from bigseg.errors import SpecError
from bigseg.storage import Options, Unreachable, carried, current, use
from tests.contracts.stores import Store, store

SAID = Options("http://127.0.0.1:9000", "lab", True, 3, 10.0, 2.5)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the environment of other tests alone."""
    with monkeypatch.context() as patch:
        for name in SAID.environment():
            patch.setenv(name, "")
        yield


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with store("s3", tmp_path_factory.mktemp("s3")) as served:
        yield served


def test_options_are_said_by_the_environment() -> None:
    assert current() == Options()
    use(SAID)
    assert current() == SAID
    code = "from bigseg.storage import current; print(repr(current()))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert eval(told.stdout) == SAID
    assert SAID.environment()["BIGSEG_TIMEOUT"] == "2.5"
    use(Options())
    assert current() == Options()


def test_options_are_carried_to_workers_that_were_started_elsewhere() -> None:
    use(SAID)
    sent = pickle.dumps(carried(current))
    use(Options())
    assert pickle.loads(sent)() == SAID


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"endpoint": "127.0.0.1:9000"}, r"must be an address as https://host:port"),
        ({"endpoint": "http://key:canary@host"}, r"must hold no credentials; give those in env"),
        ({"endpoint": "http://host?sig=canary"}, r"must hold no credentials"),
        ({"retries": -1}, r"Retries must be 0 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        Options(**values)  # type: ignore[arg-type]
    assert "canary" not in str(caught.value)


def test_a_variable_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGSEG_RETRIES", "many")
    with pytest.raises(SpecError, match="BIGSEG_RETRIES is 'many', which is no number; correct"):
        current()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("s3://b/a", "s3"), ("s3a://b/a", "s3"), ("gs://b/a", "gs"), ("gcs://b/a", "gs"),
        ("az://b/a", "az"), ("abfss://c@account.dfs.core.windows.net/a", "az"),
        ("https://h/a", "http"), ("https://h/a?signature=1", None), ("memory://a", None),
        ("/a", None), ("sftp://h/a", None),
    ],
)  # fmt: skip
def test_who_serves_a_url(url: str, kind: str | None) -> None:
    assert storage.kind(url) == kind


def test_credentials_of_a_profile(
    s3: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key, secret = s3.environment["AWS_ACCESS_KEY_ID"], s3.environment["AWS_SECRET_ACCESS_KEY"]
    (tmp_path / "credentials").write_text(
        f"[lab]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    assert s3.endpoint is not None
    monkeypatch.setenv("BIGSEG_ENDPOINT", s3.endpoint)
    url = f"{s3.url}/profile"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")  # the profile that is named wins
    monkeypatch.setenv("BIGSEG_PROFILE", "lab")
    files.put(url, b"1")
    assert files.get(url) == b"1"
    monkeypatch.setenv("BIGSEG_PROFILE", "nobody")
    with pytest.raises(Unreachable, match=r"cannot be opened with profile 'nobody'.*list-profiles"):
        files.get(url)
    monkeypatch.delenv("BIGSEG_PROFILE")
    with pytest.raises(SystemExit, match="1"):
        main(["info", url, "--profile", "nobody", "--endpoint", s3.endpoint])
    assert "'aws configure list-profiles' shows those there are" in capsys.readouterr().err
    assert current().profile == "nobody"  # said for the process and all it starts


def test_a_connection_string_of_azure() -> None:
    text = "DefaultEndpointsProtocol=https;AccountName=lab;AccountKey=a2V5==;EndpointSuffix=x"
    assert storage._connection_string(text) == {"account_name": "lab", "account_key": "a2V5=="}


def test_an_account_of_azure_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    with pytest.raises(Unreachable, match="az://images has no account; set AZURE_STORAGE_ACC"):
        files.get("az://images/a")


def test_no_credentials_is_a_sentence(
    s3: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://169.254.169.254:9")
    monkeypatch.setenv("BIGSEG_TIMEOUT", "1")
    with pytest.raises(Unreachable, match=r"There are no credentials for s3://\S+; set AWS_ACCESS"):
        files.get(f"{s3.url}/a")


def test_every_command_says_how_buckets_are_reached(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["segment"], ["run"], ["models", "fetch"]):
        with pytest.raises(SystemExit, match="0"):
            main([*command, "--help"])
        said = capsys.readouterr().out
        assert all(option in said for option in ("--endpoint", "--profile", "--anonymous"))
