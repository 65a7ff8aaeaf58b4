"""Names of machines as HTTP headers say them. Pure."""

import ipaddress
from urllib.parse import urlsplit


def hostname(host: str | None) -> str | None:
    """The name or number of a Host header, without its port; None where there is none."""
    try:
        parts = urlsplit(f"//{host or ''}")
        bare = not (parts.username or parts.password or parts.path or parts.query or parts.fragment)
        _ = parts.port  # ValueError where it is none
    except ValueError:
        return None
    return parts.hostname.rstrip(".").lower() or None if parts.hostname and bare else None


def is_number(name: str) -> bool:
    """Whether a host is written as an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
