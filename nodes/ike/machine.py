"""What IKE needs of a machine: Debian's packages of strongSwan, and ESP in the kernel or beside it."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Literal

EspPlace = Literal["kernel", "user space"]

CHARON = Path("/usr/lib/ipsec/charon")
PLUGINS = Path("/usr/lib/ipsec/plugins")
NEEDED = {
    CHARON: "strongswan-charon",
    PLUGINS / "libstrongswan-vici.so": "strongswan-swanctl",
    PLUGINS / "libstrongswan-kernel-libipsec.so": "libcharon-extra-plugins",
    PLUGINS / "libstrongswan-eap-mschapv2.so": "libcharon-extauth-plugins",
    PLUGINS / "libstrongswan-gcm.so": "libstrongswan-standard-plugins",
}
"""Files, and the Debian packages that have them."""
PROGRAMS = {"unshare": "util-linux", "setpriv": "util-linux", "mount": "mount", "ip": "iproute2"}

_SAMPLE_KEY = "0x" + "00" * 20  # an algorithm is probed by an SA that carries nothing


class IkeMissingError(OSError):
    """Names the packages that IKE needs and this machine lacks."""


def missing_packages() -> tuple[str, ...]:
    """Names the Debian packages that are missing, each once."""
    missing = [package for path, package in NEEDED.items() if not path.exists()]
    missing += [package for name, package in PROGRAMS.items() if shutil.which(name) is None]
    return tuple(dict.fromkeys(missing))


def check_packages() -> None:
    """Raises IkeMissingError unless all packages are there."""
    missing = missing_packages()
    if missing:
        raise IkeMissingError(f"IKE: missing Debian packages: {' '.join(missing)}")


@functools.cache
def esp_place() -> EspPlace:
    """Tells whether this kernel has ESP with AES-GCM; it is tried in a network namespace of its own."""
    state = ("ip", "xfrm", "state", "add", "src", "::1", "dst", "::2", "proto", "esp")
    algorithm = ("spi", "0x100", "mode", "tunnel", "aead", "rfc4106(gcm(aes))", _SAMPLE_KEY, "128")
    tried = subprocess.run(
        ["unshare", "--net", *state, *algorithm], capture_output=True, check=False
    )
    return "kernel" if tried.returncode == 0 else "user space"
