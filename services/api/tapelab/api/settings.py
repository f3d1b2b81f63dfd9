"""Settings of the gateway."""

from __future__ import annotations

import ipaddress
from typing import Final

import msgspec

from tapelab.common.errors import ConfigError
from tapelab.common.settings import Port

MIN_TOKEN_LENGTH: Final = 16


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Read from ``TAPELAB_API_*``.

    ``services`` lists the processes whose health is shown: ``bars=http://127.0.0.1:8811,...``.
    ``token`` is what users log in with; without one the gateway is open, and then listens on loopback
    only. ``allowed_origins`` (comma-separated, ``http://localhost:3000``) adds pages of other origins,
    such as a development server; ``allowed_hosts`` adds names under which an open gateway is reached.
    """

    host: str = "127.0.0.1"
    port: Port = 8800
    page_dir: str = "frontend/out"
    services: str = ""
    token: str = ""
    allowed_origins: str = ""
    allowed_hosts: str = ""

    @property
    def service_addresses(self) -> dict[str, str]:
        """Base address by service name.

        Raises:
            ConfigError: an entry is not ``name=http://host:port``.
        """
        addresses = {}
        for entry in split(self.services):
            name, _, address = entry.partition("=")
            if not name or not address.startswith(("http://", "https://")):
                raise ConfigError(
                    "TAPELAB_API_SERVICES is wrong",
                    expected="name=http://host:port entries, separated by commas",
                    actual=repr(entry),
                    remedy="correct the setting",
                )
            addresses[name] = address.rstrip("/")
        return addresses


def split(text: str) -> list[str]:
    """The parts of a comma-separated setting."""
    return [part for part in (part.strip() for part in text.split(",")) if part]


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own and reached by nobody else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(settings: ApiSettings) -> None:
    """Refuse to serve other machines without a login.

    Raises:
        ConfigError: bound off loopback without a token, or with a token that can be guessed.
    """
    if not settings.token:
        if is_loopback(settings.host):
            return
        raise ConfigError(
            f"the gateway would be open to the network on {settings.host}",
            expected="TAPELAB_API_TOKEN for an address off loopback",
            actual="no token",
            remedy="set TAPELAB_API_TOKEN (for one: openssl rand -hex 32), or TAPELAB_API_HOST=127.0.0.1",
        )
    if len(settings.token) < MIN_TOKEN_LENGTH or len(set(settings.token)) < 6:
        raise ConfigError(
            "TAPELAB_API_TOKEN can be guessed",
            expected=f"at least {MIN_TOKEN_LENGTH} characters, not a repetition",
            actual=f"{len(settings.token)} characters, {len(set(settings.token))} different ones",
            remedy="make one with openssl rand -hex 32",
        )
