"""Names of backends: built in, registered, entry points, paths; and every way to get one wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cooperbench.errors import MissingExtra, UsageError
from cooperbench.eval import backends
from cooperbench.eval.backends import _BuiltIn


class Mine:
    """A backend of the tests' own."""

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> object:
        raise NotImplementedError


class NoBackend:
    """Lacks create_sandbox."""


class NeedsArguments(Mine):
    """Cannot be made without arguments."""

    def __init__(self, project: str) -> None:
        self.project = project


HERE = __name__


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_registered", dict(backends._registered))


@pytest.fixture(name="module")
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """Writes a module others can import, and forgets it afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refused(name: str) -> str:
    with pytest.raises(UsageError) as caught:
        backends.get_backend(name)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_unknown_name_says_which_exist() -> None:
    text = refused("modla")
    assert text.startswith("Unknown backend 'modla'")
    assert "local" in text


@pytest.mark.parametrize("name", [None, 3, b"local", ["local"]])
def test_name_that_is_no_string(name: object) -> None:
    with pytest.raises(UsageError, match="Unknown backend"):
        backends.get_backend(name)  # type: ignore[arg-type]


def test_errors_are_value_errors_too() -> None:
    with pytest.raises(ValueError, match="Unknown backend"):
        backends.get_backend("nope")


def test_list_names_built_in_first() -> None:
    backends.register_backend("a-mine", Mine)
    assert backends.list_backends()[:3] == ("modal", "docker", "local")
    assert "a-mine" in backends.list_backends()
    assert "a-mine" in refused("nope")


# -------------------------------------------------------------------------------------------- registering


def test_registered_backend_is_made_anew() -> None:
    backends.register_backend("mine", Mine)
    assert isinstance(backends.get_backend("mine"), Mine)
    assert backends.get_backend("mine") is not backends.get_backend("mine")


def test_registering_again_replaces() -> None:
    backends.register_backend("mine", lambda: None)  # type: ignore[arg-type, return-value]
    backends.register_backend("mine", Mine)
    assert isinstance(backends.get_backend("mine"), Mine)


@pytest.mark.parametrize("name", ["local", "docker"])
def test_own_names_give_way_only_to_override(name: str) -> None:
    with pytest.raises(UsageError, match="override=True"):
        backends.register_backend(name, Mine)
    backends.register_backend(name, Mine, override=True)
    assert isinstance(backends.get_backend(name), Mine)


@pytest.mark.parametrize("name", ["", " ", "a b", "1st", "a:b", "-x", "a/b", "é", 7])
def test_names_that_cannot_be_registered(name: object) -> None:
    with pytest.raises(UsageError, match="cannot be registered"):
        backends.register_backend(name, Mine)  # type: ignore[arg-type]


def test_factory_must_be_callable() -> None:
    with pytest.raises(UsageError, match="give a class or function"):
        backends.register_backend("mine", Mine())  # type: ignore[arg-type]


def test_factory_that_fails_names_its_reason() -> None:
    backends.register_backend("mine", NeedsArguments)  # type: ignore[arg-type]
    assert "could not be made" in refused("mine")
    assert "project" in refused("mine")


def test_factory_that_makes_no_backend() -> None:
    backends.register_backend("mine", NoBackend)  # type: ignore[arg-type]
    assert "has no create_sandbox()" in refused("mine")


def test_own_errors_of_a_factory_pass() -> None:
    def missing() -> Mine:
        raise MissingExtra("backend 'mine'", "mine")

    backends.register_backend("mine", missing)
    with pytest.raises(MissingExtra, match=r"cooperbench\[mine\]"):
        backends.get_backend("mine")


def test_settings_of_a_backend_are_its_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cooperbench.toml").write_text("[backends.mine]\nproject = 'p7'\n")
    backends.register_backend("mine", NeedsArguments)
    assert backends.get_backend("mine").project == "p7"  # type: ignore[attr-defined]
    backends.register_backend("mine", Mine)
    assert "could not be made with project from [backends.mine] of the settings" in refused("mine")


# -------------------------------------------------------------------------------------------- paths


def test_path_to_a_class() -> None:
    assert isinstance(backends.get_backend(f"{HERE}:Mine"), Mine)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_package.module:Class", "cannot be imported: ModuleNotFoundError"),
        (f"{HERE}:Nothing", "has no attribute 'Nothing'"),
        (f"{HERE}:HERE", "not a class or function"),
        (f"{HERE}:NoBackend", "has no create_sandbox()"),
        (":Class", "not of the form 'package.module:Class'"),
        ("module:", "not of the form"),
        ("a:b:c", "not of the form"),
        ("../evil:Class", "not of the form"),
        (".relative:Class", "cannot be imported"),
    ],
)
def test_path_that_leads_nowhere(name: str, says: str) -> None:
    assert says in refused(name)


def test_module_that_fails_while_imported(module: Callable[[str, str], str]) -> None:
    name = module("fails_at_import", "raise RuntimeError('no licence')")
    assert "cannot be imported: RuntimeError: no licence" in refused(f"{name}:Backend")
    name = module("leaves_at_import", "raise SystemExit('no licence')")
    assert "cannot be imported: SystemExit: no licence" in refused(f"{name}:Backend")


def test_factory_that_leaves(module: Callable[[str, str], str]) -> None:
    name = module("leaves_when_made", "class Backend:\n    def __init__(self): raise SystemExit(3)")
    assert "could not be made: SystemExit: 3" in refused(f"{name}:Backend")


def test_entry_point(tmp_path: Path, module: Callable[[str, str], str]) -> None:
    name = module("installed_plugin", f"from {HERE} import Mine as Backend")
    about = tmp_path / "plugin-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    points = f"plugged = {name}:Backend\nbroken = {name}:Missing\nlocal = {name}:Backend\n"
    (about / "entry_points.txt").write_text(f"[cooperbench.backends]\n{points}")
    assert type(backends.get_backend("plugged")).__name__ == "Mine"
    assert set(backends.list_backends()) >= {"local", "plugged", "broken"}
    assert backends.list_backends().count("local") == 1
    assert "entry point 'broken'" in refused("broken")
    assert not isinstance(backends.get_backend("local"), Mine), "an entry point must not take a built-in name"


# -------------------------------------------------------------------------------------------- the default


def unfit() -> tuple[bool, str]:
    return False, "no engine answers"


def fit() -> tuple[bool, str]:
    return True, "an engine answers"


def table(probe: str) -> dict[str, _BuiltIn]:
    return {
        "docker": _BuiltIn(f"{HERE}:Mine", "docker", f"{HERE}:{probe}"),
        "local": _BuiltIn(f"{HERE}:Mine"),
    }


def test_default_without_account_and_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("MODAL_CONFIG_PATH", f"{tmp_path}/none.toml")
    monkeypatch.delenv("MODAL_TOKEN_ID", raising=False)
    assert backends.default_backend() == ("local", "no credentials for Modal; no Docker engine")


def test_default_with_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-1")
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-1")
    assert backends.default_backend() == ("modal", "MODAL_TOKEN_ID is set")


def test_default_is_the_first_that_is_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_BUILT_IN", table("fit"))
    assert backends.default_backend() == ("docker", "an engine answers")
    monkeypatch.setattr(backends, "_BUILT_IN", table("unfit"))
    assert backends.default_backend() == ("local", "no engine answers")


def test_default_where_nothing_is_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table("unfit")
    del rows["local"]
    monkeypatch.setattr(backends, "_BUILT_IN", rows)
    with pytest.raises(UsageError, match=r"no backend is usable here \(no engine answers\)"):
        backends.default_backend()


def test_one_row_makes_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_BUILT_IN", table("fit"))
    assert isinstance(backends.get_backend("docker"), Mine)


def test_built_in_without_its_dependencies(
    monkeypatch: pytest.MonkeyPatch, module: Callable[[str, str], str]
) -> None:
    name = module("wants_an_sdk", "import an_sdk_nobody_has")
    monkeypatch.setattr(backends, "_BUILT_IN", {"modal": _BuiltIn(f"{name}:Backend", "modal")})
    with pytest.raises(MissingExtra, match=r"pip install 'cooperbench\[modal\]'"):
        backends.get_backend("modal")


def test_batch_evaluators() -> None:
    from cooperbench.eval.backends.gcp import GCPBatchBackend

    assert isinstance(backends.get_batch_evaluator(), GCPBatchBackend)
    assert isinstance(backends.get_batch_evaluator("gcp", project_id="a-project"), GCPBatchBackend)
    with pytest.raises(UsageError, match="unknown setting 'vm'"):
        backends.get_batch_evaluator("gcp", vm="big")
    for name in ("x", "local"):
        with pytest.raises(ValueError, match=rf"^Unknown batch evaluator '{name}': there is gcp"):
            backends.get_batch_evaluator(name)
