"""Webhook endpoints as settings name them: where outputs are posted, how they are signed, and to what addresses."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from engine.domain.ids import PREFIXES

SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = (24, 64)  # Standard Webhooks, "Signature scheme"
SECRETS_MAX: Final = 4  # a rotation needs two
ENDPOINTS_MAX: Final = 32  # each has a queue in every shard
URL_LETTERS_MAX: Final = 2_000
KINDS: Final = tuple(PREFIXES)
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_FIELDS: Final = {"url", "secrets", "kinds", "private"}


class Endpoint(msgspec.Struct, frozen=True):
    """One receiver of webhooks.

    Attributes:
        name: how settings, metrics and keys call it.
        url: where outputs are posted.
        secrets: one or more, `whsec_` and base64; each signs, so that a receiver can change from one to the next.
        kinds: the kinds of output it gets.
        private: whether addresses of private networks and plain `http` are allowed.
    """

    name: str
    url: str
    secrets: tuple[str, ...]
    kinds: tuple[str, ...] = ("alert",)
    private: bool = False


def parse_endpoint(name: str, table: Mapping[str, Any]) -> Endpoint:
    """An endpoint from its table of settings. Raises `ValueError` that says what is wrong, without any secret."""
    if _NAME.fullmatch(name) is None:
        raise ValueError("a name is 1 to 40 lower-case letters, digits, dashes or underscores, a letter first")
    unknown = sorted(set(table) - _FIELDS)
    if unknown:
        raise ValueError(f"no such field: {', '.join(unknown)}; there are {', '.join(sorted(_FIELDS))}")
    private = table.get("private", False)
    if not isinstance(private, bool):
        raise ValueError("private is true or false")
    kinds = table.get("kinds", ["alert"])
    if not isinstance(kinds, list) or not kinds or any(kind not in KINDS for kind in kinds):
        raise ValueError(f"kinds is a list of {', '.join(KINDS)}")
    secrets = table.get("secrets")
    if not isinstance(secrets, list) or not 1 <= len(secrets) <= SECRETS_MAX:
        raise ValueError(f"secrets is a list of 1 to {SECRETS_MAX}")
    for secret in secrets:
        secret_key(secret)
    return Endpoint(name, _checked_url(table.get("url"), private), tuple(secrets), tuple(dict.fromkeys(kinds)), private)


def secret_key(secret: object) -> bytes:
    """The bytes a secret stands for. Raises `ValueError`."""
    low, high = SECRET_BYTES
    if isinstance(secret, str) and secret.startswith(SECRET_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if low <= len(key) <= high:
            return key
    raise ValueError(f"a secret is {SECRET_PREFIX} and the base64 of {low} to {high} random bytes")


def address_refused(address: str, private: bool) -> str | None:
    """Why an address is no target, or None where it may be connected to.

    Only global unicast addresses are allowed, and with `private` all unicast ones. An IPv6 address that carries an
    IPv4 address (mapped, 6to4, NAT64, Teredo) is judged by both. Raises `ValueError` where it is no address.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    carried = [found, *_carried(found)]
    for one in carried:
        if one.is_multicast or one.is_unspecified or one == ipaddress.IPv4Address("255.255.255.255"):
            return f"{address} is no address of one machine"
        if not private and (not one.is_global or _is_site_local(one)):
            return f"{address} is in a private, local or reserved network; `private = true` allows it"
    return None


def _carried(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in ipaddress.IPv6Network("64:ff9b::/96") or int(address) >> 32 == 0 < int(address) >> 16:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def _is_site_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and address.is_site_local


def _checked_url(url: object, private: bool) -> str:
    if not isinstance(url, str) or not 0 < len(url) <= URL_LETTERS_MAX or not url.isprintable() or " " in url:
        raise ValueError(f"url is an address of at most {URL_LETTERS_MAX} letters")
    parts = urlsplit(url)
    if parts.scheme not in (("https", "http") if private else ("https",)):
        raise ValueError("url begins with https://; http:// only with `private = true`")
    if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("url names a host, without user, password or fragment")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("url has no usable port")
    try:
        refused = address_refused(parts.hostname, private)
    except ValueError:
        return url  # a name: its addresses are checked at each connection
    if refused:
        raise ValueError(refused)
    return url
