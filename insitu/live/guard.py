"""Who may look, and who may write: decided from the host that was asked for, the page that asks, and a token.

On this machine, under its own name, reading is free. A host name of somebody else that leads here (DNS rebinding) is
refused, as is a page from elsewhere (its `Origin`). Everything else, and every change, needs the token.
"""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN_HEADER = "x-insitu-token"  # noqa: S105 - the name of a header
_OWN_NAMES = {"localhost", "127.0.0.1", "[::1]"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of who asks: address of the other end, headers (lower case), token in the address of the page."""

    client: str
    headers: Mapping[str, str]
    token: str = ""


@dataclass(frozen=True, slots=True)
class Guard:
    """Decides over requests.

    Parameters
    ----------
    token : str
    host : str
        The address that is listened on.
    """

    token: str
    host: str = "127.0.0.1"

    @classmethod
    def new(cls, host: str = "127.0.0.1") -> Guard:
        """Return a guard with a token that nobody can guess."""
        return cls(secrets.token_urlsafe(18), host)

    def refusal(self, asked: Asked, *, changes: bool = False) -> tuple[int, str] | None:
        """Return status and reason of a refusal, or None where it is allowed."""
        name = asked.headers.get("host", "")
        if not self._ours(name):
            return 421, "this page is not served under that name"
        if "origin" in asked.headers and asked.headers["origin"].partition("://")[2] != name:
            return 403, "another page may not ask"
        if self._holds(asked, in_address=not changes):
            return None
        if changes:
            return 403, "the token is missing or wrong: open the address that insitu printed"
        if is_here(asked.client) and _bare(name) in _OWN_NAMES:
            return None
        return 403, "the token is missing or wrong: open the address that insitu printed"

    def _ours(self, name: str) -> bool:
        """Whether `name` can only be this machine: its own names, or, where it listens to others, an IP address."""
        bare = _bare(name)
        if bare in _OWN_NAMES or bare == self.host:
            return True
        if is_here(self.host):
            return False
        try:
            ipaddress.ip_address(bare.strip("[]"))
        except ValueError:
            return False
        return True

    def _holds(self, asked: Asked, *, in_address: bool) -> bool:
        """Whether the token came along; one in an address may lie in a history, so it never changes anything."""
        given = [asked.headers.get(TOKEN_HEADER, "")]
        if in_address:
            given.append(asked.token)
        return any(secrets.compare_digest(text.encode(), self.token.encode()) for text in given)


def is_here(address: str) -> bool:
    """Whether an address is this machine itself."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _bare(name: str) -> str:
    """Return a host without its port."""
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0].lower()
