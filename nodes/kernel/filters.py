"""Asks the kernel by rtnetlink whether any filter stands on an interface's clsact qdisc."""

from __future__ import annotations

import socket
import struct

_RTM_NEWTFILTER = 44
_RTM_GETTFILTER = 46
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
# linux/pkt_sched.h: TC_H_CLSACT with TC_H_MIN_INGRESS and TC_H_MIN_EGRESS
_PARENTS = (0xFFFFFFF2, 0xFFFFFFF3)
_HEADER = struct.Struct("=IHHII")
_TC_MESSAGE = struct.Struct("=B3xiIII")
_ALIGNMENT = 4
_BUFFER = 65536


def any_on(interface: int) -> bool:
    """Tells whether there is a filter at the interface's ingress or egress; raises OSError."""
    return any(_any_at(interface, parent) for parent in _PARENTS)


def _any_at(interface: int, parent: int) -> bool:
    question = _TC_MESSAGE.pack(socket.AF_UNSPEC, interface, 0, parent, 0)
    header = _HEADER.pack(_HEADER.size + len(question), _RTM_GETTFILTER, _NLM_F_REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        asking.send(header + question)
        while True:
            answer = asking.recv(_BUFFER)
            while answer:
                length, kind = _HEADER.unpack_from(answer)[:2]
                if kind == _RTM_NEWTFILTER:
                    return True
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return False
                answer = answer[-(-length // _ALIGNMENT) * _ALIGNMENT :]
