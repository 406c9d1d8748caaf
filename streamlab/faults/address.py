"""Where Redis is, out of its URL: to connect to it, and to say under which URL the proxy stands for it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.connection import parse_url

_HANDSHAKE_S = 10.0


async def dial(url: str, protocol: Callable[[], asyncio.Protocol]) -> None:
    """Connect to a redis://, rediss:// or unix:// URL.

    Raises OSError where nobody answers, ValueError for a URL that cannot be read.
    """
    loop = asyncio.get_running_loop()
    to = _parsed(url)
    if "path" in to:
        await loop.create_unix_connection(protocol, to["path"])
        return
    tls = _context(to) if urlsplit(url).scheme == "rediss" else None
    await loop.create_connection(
        protocol,
        to.get("host", "localhost"),
        to.get("port", 6379),
        ssl=tls,
        ssl_handshake_timeout=_HANDSHAKE_S if tls else None,
    )


def stand_in(url: str, port: int) -> str:
    """The URL of the proxy at `port` on loopback that stands for `url`: its user, password, database and options."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    database = _parsed(url).get("db", 0)
    rest = [(name, value) for name, value in parse_qsl(parts.query) if name != "db" and not name.startswith("ssl_")]
    return f"redis://{login}{at}127.0.0.1:{port}/{database}{'?' if rest else ''}{urlencode(rest)}"


def _parsed(url: str) -> dict[str, Any]:
    return dict(parse_url(url))  # type: ignore[no-untyped-call]


def _context(to: dict[str, Any]) -> ssl.SSLContext:
    """What redis-py makes of the URL's ssl_ options."""
    context = ssl.create_default_context(cafile=to.get("ssl_ca_certs"), capath=to.get("ssl_ca_path"))
    verify = to.get("ssl_cert_reqs", "required")
    context.check_hostname = verify == "required" and to.get("ssl_check_hostname", True)
    if verify == "none":
        context.verify_mode = ssl.CERT_NONE
    elif verify == "optional":
        context.verify_mode = ssl.CERT_OPTIONAL
    if certificate := to.get("ssl_certfile"):
        context.load_cert_chain(certificate, to.get("ssl_keyfile"), to.get("ssl_password"))
    return context
