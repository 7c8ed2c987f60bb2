"""The kinds of value a setting can have: how each is read, shown, bounded and masked."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.domain.chargebacks import canonical
from engine.domain.durations import DURATION_ALLOWED, format_duration, parse_duration
from engine.domain.webhooks import ENDPOINTS_MAX, SECRET_PREFIX, Endpoint, parse_endpoint

CODES_MAX: Final = 500
CODE_CHARS_MAX: Final = 32
ROLES: Final = ("gateway", "analyst", "admin")
_SIZES: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE: Final = re.compile(r"([0-9]{1,12})\s*(B|KiB|MiB|GiB)?")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_HOST_PORT: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
# To the last @ of the word: a password with an @ or / in it that nobody escaped must not leak either.
_CREDENTIALS: Final = re.compile(r"(?<=://)([^:@/\s]*)(?::[^\s\"'<>]*)?@")
_PASSWORD_QUERY: Final = re.compile(r"(?<=[?&]password=)[^&]*")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    Attributes:
        name: what it is called in tables.
        allowed: what may be given, in words, for error messages.
        parse: text to value; raises `ValueError`.
        show: value to the text that `parse` reads back.
        native: TOML types taken besides text.
        mask: value to a text without its secrets, where it may hold some.
        suffix: ending of the attribute's name that says the unit, left out of the setting's name.
    """

    name: str
    allowed: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str] = str
    native: tuple[type, ...] = ()
    mask: Callable[[Any], str] | None = None
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of the HTTP API and the role it carries."""

    role: str
    key: str


def integer(low: int, high: int) -> Kind:
    """A whole number within bounds, both included."""
    allowed = f"a whole number from {low} to {high}"
    return Kind("integer", allowed, lambda text: _bounded(int(text), low, high), native=(int,))


def number(low: float, high: float) -> Kind:
    """A number within bounds, both included."""
    allowed = f"a number from {low:g} to {high:g}"
    return Kind(
        "number", allowed, lambda text: _bounded(float(text), low, high), lambda value: f"{value:g}", (int, float)
    )


def duration(low: str, high: str) -> Kind:
    """A duration within bounds, held in milliseconds."""
    low_ms, high_ms = parse_duration(low), parse_duration(high)
    allowed = f"{DURATION_ALLOWED}, from {low} to {high}"
    return Kind(
        "duration", allowed, lambda text: _bounded(parse_duration(text), low_ms, high_ms), format_duration, suffix="_ms"
    )


def size(low: str, high: str) -> Kind:
    """A number of bytes within bounds."""
    low_bytes, high_bytes = _parse_size(low), _parse_size(high)
    allowed = f"a number of bytes, or one with KiB, MiB or GiB, from {low} to {high}"
    return Kind(
        "size",
        allowed,
        lambda text: _bounded(_parse_size(text), low_bytes, high_bytes),
        _show_size,
        (int,),
        suffix="_bytes",
    )


def choice(*names: str) -> Kind:
    """One of a few words."""
    return Kind("choice", f"one of {', '.join(names)}", lambda text: _one_of(text, names))


def matching(name: str, allowed: str, form: str) -> Kind:
    """A text of a stated form (a regular expression for the whole of it)."""
    compiled = re.compile(form)
    return Kind(name, allowed, lambda text: _formed(text, compiled))


def _bounded(value: Any, low: Any, high: Any) -> Any:
    if not low <= value <= high:  # false for NaN too
        raise ValueError("out of bounds")
    return value


def _one_of(text: str, names: tuple[str, ...]) -> str:
    if text not in names:
        raise ValueError("not one of them")
    return text


def _formed(text: str, form: re.Pattern[str]) -> str:
    if form.fullmatch(text) is None:
        raise ValueError("not of that form")
    return text


def _parse_size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("not a size")
    return int(match[1]) * _SIZES[match[2] or ""]


def _show_size(value: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        if value and value % _SIZES[unit] == 0:
            return f"{value // _SIZES[unit]}{unit}"
    return str(value)


def _parse_switch(text: str) -> bool:
    words = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False, "on": True, "off": False}
    if text.lower() not in words:
        raise ValueError("not a switch")
    return words[text.lower()]


def _parse_redis(text: str) -> str:
    if text == "embedded" or re.fullmatch(
        r"(redis|rediss|redis-cluster|rediss-cluster)://[^/\s][^\s]*|unix://\S+", text
    ):
        return text
    raise ValueError("not a Redis address")


def _parse_kafka(text: str) -> str:
    if text in ("embedded", "none"):
        return text
    if not text.startswith("kafka://"):
        raise ValueError("not a Kafka address")
    for server in text.removeprefix("kafka://").rsplit("@", 1)[-1].split(","):
        _parse_address(server)
    return text


def _parse_address(text: str) -> str:
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match[1]) > 65_535:
        raise ValueError("not host:port")
    return text


def _parse_keys(text: str) -> tuple[ApiKey, ...]:
    keys = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, colon, key = part.partition(":")
        if not colon or role not in ROLES or len(key) < 8 or not key.isprintable() or " " in key:
            raise ValueError("not role:key")
        keys.append(ApiKey(role, key))
    if len({key.key for key in keys}) != len(keys):
        raise ValueError("a key twice")
    return tuple(keys)


def parse_endpoints(text: str) -> tuple[Endpoint, ...]:
    """Webhook endpoints from a JSON object of tables by name. Raises `ValueError` that names the endpoint."""
    try:
        tables = msgspec.json.decode(text or "{}", type=dict[str, dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a JSON object of endpoints: {error}") from error
    if len(tables) > ENDPOINTS_MAX:
        raise ValueError(f"{len(tables)} endpoints; at most {ENDPOINTS_MAX}")
    found = []
    for name, table in tables.items():
        try:
            found.append(parse_endpoint(name, table))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return tuple(found)


def _show_endpoints(endpoints: tuple[Endpoint, ...], *, masked: bool = False) -> str:
    tables = {}
    for endpoint in endpoints:
        table = msgspec.to_builtins(endpoint)
        del table["name"]
        if masked:
            table["secrets"] = [f"{SECRET_PREFIX}***" for _ in endpoint.secrets]
            table["url"] = mask_url(endpoint.url).partition("?")[0]
        tables[endpoint.name] = table
    return msgspec.json.encode(tables).decode() if tables else ""


def mask_url(url: str) -> str:
    """An address without its password: `redis://user:***@host`."""
    masked = _CREDENTIALS.sub(lambda match: f"{match[1]}:***@", url)
    return _PASSWORD_QUERY.sub("***", masked)


def _parse_codes(text: str) -> frozenset[str]:
    codes = canonical(text.split(","))
    if len(codes) > CODES_MAX or any(len(code) > CODE_CHARS_MAX for code in codes):
        raise ValueError("too many, or too long")
    return codes


SWITCH: Final = Kind("switch", "true or false", _parse_switch, lambda value: "true" if value else "false", (bool,))
PATH: Final = Kind(
    "path",
    "a path; empty for none",
    lambda text: Path(text).expanduser() if text else None,
    lambda value: str(value or ""),
)
NAME: Final = matching("name", "1 to 200 letters, digits, dots, dashes or underscores", _NAME.pattern)
NAME_OR_NONE: Final = matching(
    "name", "a name of letters, digits, dots, dashes or underscores; empty for none", f"(?:{_NAME.pattern})?"
)
CURRENCY: Final = matching("currency", "an upper-case ISO 4217 code such as EUR", "[A-Z]{3}")
ADDRESS: Final = Kind("address", "host:port, as in 127.0.0.1:8080; port 0 takes a free one", _parse_address)
REDIS: Final = Kind(
    "address",
    "embedded, redis://host:port/0, rediss://…, redis-cluster://host:port or unix:///path",
    _parse_redis,
    mask=mask_url,
)
KAFKA: Final = Kind("address", "embedded, none, or kafka://host:port[,host:port]", _parse_kafka, mask=mask_url)
API_KEYS: Final = Kind(
    "keys",
    f"role:key pairs with commas between, roles {', '.join(ROLES)}, each key once and of 8 characters or more",
    _parse_keys,
    lambda keys: ",".join(f"{key.role}:{key.key}" for key in keys),
    mask=lambda keys: ",".join(f"{key.role}:***" for key in keys),
)
CODES: Final = Kind(
    "codes",
    f"reason codes divided by commas, at most {CODES_MAX} of {CODE_CHARS_MAX} characters",
    _parse_codes,
    lambda codes: ",".join(sorted(codes)),
)
ENDPOINTS: Final = Kind(
    "endpoints",
    'tables [webhooks.NAME] of a settings file, or JSON {"NAME": {"url": …, "secrets": ["whsec_…"], "kinds": [...]}}',
    parse_endpoints,
    _show_endpoints,
    mask=lambda endpoints: _show_endpoints(endpoints, masked=True),
)
