"""What is alike whatever a client's LAN is."""

from __future__ import annotations

import pytest

from nodes.lan import LanError
from nodes.packet_socket_lan import PacketSocketLan


def test_interface_names_that_linux_refuses_are_refused_before_the_kernel_is_asked() -> None:
    for name in ("", "sixteen-octets-x", "a/b", "a b", ".."):
        with pytest.raises(LanError, match="expected a name"):
            PacketSocketLan(name)
