"""The key server's tables.

Patent: Fig. 7-1 steps 703, 705; tables 506, 508, 12-1, 12-2; part 1201; claims 3-5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from protocol.types import (
    KEY_LENGTHS,
    ONLY_SUB_ID,
    SALT_LENGTH,
    Algorithm,
    ClientId,
    Delivery,
    IpAddress,
    RandomOctets,
    Secret,
    SenderId,
    Spi,
    SubId,
    VpnId,
)
from protocol.wire.codec import MOST_PACKETS
from protocol.wire.esp import SENDER_ID_BITS

SENDER_IDS = 2**SENDER_ID_BITS
FIRST_SPI = 256
"""SPIs 1 to 255 are reserved (RFC 4303 section 2.1)."""


@dataclass(frozen=True)
class GroupConfiguration:
    """A VPN group as it is set up: its number, its address, how its packets are sealed and delivered."""

    vpn_id: VpnId
    multicast_address: IpAddress
    algorithm: Algorithm = "aes-128-gcm"
    delivery: Delivery = "relay"


@dataclass(frozen=True)
class UserRecord:
    """A row of table 506, with the Sub ID of Fig. 12-2."""

    user: str
    vpn_id: VpnId
    sub_id: SubId = ONLY_SUB_ID


class UserVpnGroupTable:
    """Table 506: user to VPN ID."""

    def __init__(self, records: Iterable[UserRecord] = ()) -> None:
        self._by_user = {record.user: record for record in records}

    def replace(self, records: Iterable[UserRecord]) -> None:
        """Takes the whole table anew."""
        self._by_user = {record.user: record for record in records}

    def at(self, user: str) -> UserRecord | None:
        """Returns the user's row (step 703)."""
        return self._by_user.get(user)

    def rows(self) -> Iterator[UserRecord]:
        """Yields each row."""
        yield from self._by_user.values()


@dataclass
class GroupKey:
    """An SA as the key server holds it, and which sender IDs under its key are still unused."""

    spi: Spi
    algorithm: Algorithm
    key: Secret
    salt: Secret
    created: int
    packets: int = MOST_PACKETS
    """How many packets each sender may seal before it is to be replaced."""
    next_sender_id: int = 0

    def take_sender_id(self) -> SenderId | None:
        """Returns a sender ID that was never given out under this key, or None when all were."""
        if self.next_sender_id >= SENDER_IDS:
            return None
        self.next_sender_id += 1
        return SenderId(self.next_sender_id - 1)


class MulticastAddressTable:
    """Table 508: (VPN ID, Sub ID) to multicast address and SA; the newest SA of each stands last."""

    def __init__(self, random_octets: RandomOctets, packets: int = MOST_PACKETS) -> None:
        """Takes where randomness comes from, and how many packets of a sender an SA is to serve for."""
        self._random_octets = random_octets
        self._packets = packets
        self._keys: dict[tuple[VpnId, SubId], list[GroupKey]] = {}
        self._client_keys: dict[ClientId, GroupKey] = {}

    def newest(self, vpn_id: VpnId, sub_id: SubId) -> GroupKey | None:
        """Returns the SA that senders of the group use."""
        keys = self._keys.get((vpn_id, sub_id))
        return keys[-1] if keys else None

    def older(self, vpn_id: VpnId, sub_id: SubId) -> tuple[GroupKey, ...]:
        """Returns the SAs that the newest one replaces and that are still in use, oldest first."""
        return tuple(self._keys.get((vpn_id, sub_id), [])[:-1])

    def create(self, vpn_id: VpnId, sub_id: SubId, algorithm: Algorithm, now: int) -> GroupKey:
        """Makes a fresh SA beside those that the group has (step 705)."""
        key = self._make(algorithm, now)
        self._keys.setdefault((vpn_id, sub_id), []).append(key)
        return key

    def create_for_client(self, client_id: ClientId, algorithm: Algorithm, now: int) -> GroupKey:
        """Makes an SA for one client and a hub: what the patent does without."""
        key = self._client_keys[client_id] = self._make(algorithm, now)
        return key

    def remove_client(self, client_id: ClientId) -> None:
        """Forgets the SA that a client shares with a hub, if there is one."""
        self._client_keys.pop(client_id, None)

    def remove(self, vpn_id: VpnId, spi: Spi) -> bool:
        """Forgets one SA of a group; False when it is not there any more."""
        for group, sub_id, key in self.rows():
            if group == vpn_id and key.spi == spi:
                self._keys[group, sub_id].remove(key)
                return True
        return False

    def remove_sub_id(self, vpn_id: VpnId, sub_id: SubId) -> bool:
        """Forgets every SA of a Sub ID that no client has any more; False when there was none."""
        return self._keys.pop((vpn_id, sub_id), None) is not None

    def remove_group(self, vpn_id: VpnId) -> None:
        """Forgets every SA of a group that has no client left."""
        for key in [key for key in self._keys if key[0] == vpn_id]:
            del self._keys[key]

    def spis(self, vpn_id: VpnId) -> frozenset[int]:
        """Returns the SPIs in use in a group."""
        return frozenset(spi for spi, _ in self.sub_ids(vpn_id))

    def sub_ids(self, vpn_id: VpnId) -> frozenset[tuple[int, SubId]]:
        """Returns (SPI, Sub ID) of the SAs in use in a group.

        Patent: table 12-1; part 1201.
        """
        return frozenset((key.spi, sub) for group, sub, key in self.rows() if group == vpn_id)

    def newest_rows(self) -> Iterator[tuple[VpnId, SubId, GroupKey]]:
        """Yields (VPN ID, Sub ID, the SA that senders use)."""
        for (vpn_id, sub_id), keys in self._keys.items():
            if keys:
                yield vpn_id, sub_id, keys[-1]

    def rows(self) -> Iterator[tuple[VpnId, SubId, GroupKey]]:
        """Yields (VPN ID, Sub ID, SA)."""
        for (vpn_id, sub_id), keys in self._keys.items():
            for key in keys:
                yield vpn_id, sub_id, key

    def client_rows(self) -> Iterator[tuple[ClientId, GroupKey]]:
        """Yields (client, the SA that it shares with a hub)."""
        yield from self._client_keys.items()

    def _make(self, algorithm: Algorithm, now: int) -> GroupKey:
        return GroupKey(
            self._unused_spi(),
            algorithm,
            Secret(self._random_octets(KEY_LENGTHS[algorithm])),
            Secret(self._random_octets(SALT_LENGTH)),
            created=now,
            packets=self._packets,
        )

    def _unused_spi(self) -> Spi:
        taken = {key.spi for _, _, key in self.rows()}
        taken |= {key.spi for key in self._client_keys.values()}
        while True:
            spi = Spi(int.from_bytes(self._random_octets(4), "big"))
            if spi >= FIRST_SPI and spi not in taken:
                return spi
