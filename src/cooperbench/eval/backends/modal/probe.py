"""Whether the backend would do, for `cooperbench doctor` and for choosing a backend nobody chose."""

from __future__ import annotations

from cooperbench.eval.backends.modal import credentials, prices
from cooperbench.eval.backends.modal.connection import Connection


def fit_by_default() -> tuple[bool, str]:
    """Whether there are credentials, and the reason in a few words. Nobody is asked whether they are good."""
    from importlib.util import find_spec

    where = credentials.found()
    if where is None:
        return False, "no credentials for Modal"
    if find_spec("modal") is None:
        return False, f"{where}, but the modal extra is not installed"
    return True, where


def diagnose(connection: Connection) -> list[tuple[bool, str]]:
    """What there is to be said of a workspace that answers."""
    settings, price = connection.settings, prices.price(connection.settings)
    return [
        (True, f"Modal answers (client {connection.sdk.__version__})"),
        (True, f"sandboxes are made in app {settings.app_name}, {connection.app.app_id}"),
        (True, f"a sandbox costs about ${price.hourly:.3f} an hour, by {price.source}"),
    ]
