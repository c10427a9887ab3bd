"""Settings: who wins, and what a wrong one is told."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from cooperbench import settings
from cooperbench.errors import UsageError
from cooperbench.eval import backends


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_environment_beats_project_beats_user() -> None:
    write(settings.user_file(), 'backend = "u"\nconcurrency = 1\nlogs_dir = "mine"\n')
    write(Path("cooperbench.toml"), 'backend = "p"\nconcurrency = 2\n')
    found = settings.load({"COOPERBENCH_BACKEND": "e"})
    assert found.values == {"backend": "e", "concurrency": 2, "logs_dir": "mine"}
    assert found.origins == {
        "backend": "COOPERBENCH_BACKEND",
        "concurrency": "cooperbench.toml",
        "logs_dir": str(settings.user_file()),
    }


def test_backend_tables_are_merged_key_by_key() -> None:
    write(settings.user_file(), '[backends.local]\nnetwork = "none"\nroot = "/x"\n')
    write(Path("cooperbench.toml"), '[backends.local]\nnetwork = "open"\n')
    assert settings.backend_options("local") == {"network": "open", "root": "/x"}
    assert settings.backend_options("other") == {}


def test_a_table_of_nearly_a_backends_name_is_not_passed_over() -> None:
    """``network = "none"`` in it would not hold, and nothing would say so."""
    write(Path("cooperbench.toml"), '[backends.lcal]\nnetwork = "none"\n')
    with pytest.raises(UsageError, match=r"a table \[backends\.lcal\]; did you mean \[backends\.local\]\?"):
        backends.get_backend("local")
    assert settings.backend_options("local", ["local", "lcal"]) == {}
    assert settings.backend_options("other") == {}
    write(Path("cooperbench.toml"), '[backends.lcal]\nnetwork = "none"\n[backends.local]\nnetwork = "open"\n')
    assert settings.backend_options("local") == {"network": "open"}


@pytest.mark.parametrize(
    "name", ["COOPERBENCH_BACKND", "COOPERBENCH_BACKENDS", "COOPERBENCH_EVAL_CONCURENCY"]
)
def test_a_variable_of_nearly_a_settings_name_is_refused(name: str) -> None:
    with pytest.raises(
        UsageError, match=f"{name} means nothing; did you mean COOPERBENCH_(BACKEND|EVAL_CONC)"
    ):
        settings.load({name: "docker"})
    for other in ("COOPERBENCH_STATE_DIR", "COOPERBENCH_DEBUG", "COOPERBENCH_REAL_DATASET", "BACKEND"):
        assert settings.load({other: "x"}).values == {}


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def getpwuid(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", getpwuid)  # as for an id without an account
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    with pytest.raises(UsageError, match="set HOME"):
        settings.load()


def test_the_flag_beats_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COOPERBENCH_BACKEND", "env")
    assert backends.choose_backend("flag")[0] == "flag"
    name, reason = backends.choose_backend(None)
    assert name == "env"
    assert "COOPERBENCH_BACKEND" in reason


def test_without_any_setting_the_machine_decides() -> None:
    name, reason = backends.choose_backend(None)
    assert name
    assert reason


def test_an_empty_variable_says_nothing() -> None:
    assert settings.load({"COOPERBENCH_CONCURRENCY": " "}).values == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('backnd = "x"\n', "unknown key 'backnd'; did you mean 'backend'?"),
        ("zzz = 1\n", "unknown key 'zzz'; there are: backend"),
        ("concurrency = 0\n", "a whole number above 0, not 0"),
        ("concurrency = true\n", "a whole number above 0, not True"),
        ('concurrency = "4"\n', "a whole number above 0, not '4'"),
        ("backend = 3\n", "a text in quotes, not 3"),
        ("[backend.local]\nnetwork = 'none'\n", "options of a backend go into [backends.NAME]"),
        ("backends = 1\n", "one table for each backend"),
        ("backends.local = 1\n", "one table for each backend"),
        ("backend = \n", "is not valid TOML"),
        ("\0", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(text: str, told: str) -> None:
    path = write(Path("cooperbench.toml"), text)
    with pytest.raises(UsageError) as caught:
        settings.load({})
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text_is_an_error() -> None:
    Path("cooperbench.toml").write_bytes(b"backend = '\xff'\n")
    with pytest.raises(UsageError, match="not valid TOML"):
        settings.load({})


def test_a_directory_in_the_files_place_is_an_error() -> None:
    Path("cooperbench.toml").mkdir()
    with pytest.raises(UsageError, match="cannot read"):
        settings.load({})


@pytest.mark.parametrize("value", ["x", "0", "-3", "1.5"])
def test_a_wrong_variable_is_named(value: str) -> None:
    with pytest.raises(UsageError, match="COOPERBENCH_CONCURRENCY"):
        settings.load({"COOPERBENCH_CONCURRENCY": value})
