"""What a run with several VPN servers adds to the common course: keys sought, choices, faults.

Patent: Figs. 15-19.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from experiments.deployment import Deployment
from experiments.embodiments.addition import Addition
from experiments.embodiments.course import Parameters
from experiments.embodiments.vpn_servers.faults import (
    RepresentativeLoss,
    ServerLoss,
    kill_representative,
    kill_vpn_server,
)
from experiments.embodiments.vpn_servers.nearest import Choices, register_again
from experiments.observation.memory_scan import cipher_modules, key_forms, scan
from experiments.progress import Progress
from experiments.records import figures as figures_of
from experiments.records.record import Figure, Invariant, Sample

STEPS = ("clients choose their servers", "the representative is killed", "a VPN server is killed")
LEAST_CHOICES = 20


class ServersAddition(Addition):
    """Looks for keys in memory, has clients choose anew, and kills servers while frames flow."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self.choices = Choices(0, 0)
        self._representative: RepresentativeLoss | None = None
        self._server: ServerLoss | None = None

    def after(
        self, deployment: Deployment, private: Path, progress: Progress
    ) -> dict[str, Invariant]:
        """Does all three, and says what held."""
        found = {"no_server_process_holds_a_live_key": keys_in_memory(deployment)}
        progress.step(STEPS[0], weight=0)
        self.choices = register_again(deployment, LEAST_CHOICES)
        found["the_nearest_is_chosen_each_time"] = _as_invariant(self.choices)
        progress.step(STEPS[1], weight=0)
        self._representative = kill_representative(deployment, private / "representative")
        found |= _of_representative(self._representative)
        if len(deployment.plan.relays) > 1:
            progress.step(STEPS[2], weight=0)
            self._server = kill_vpn_server(deployment, private / "server")
        return found | _of_server(self._server)

    def figures(self) -> dict[str, Figure]:
        """Returns the gaps and counts of the faults."""
        figures = {}
        if self._representative is not None:
            lost = self._representative
            figures["frames_missing_while_representative_away"] = figures_of.exact(
                lost.missing, "frames"
            )
            figures["representative_away"] = figures_of.exact(lost.away, "s")
        if self._server is not None:
            figures["gap_after_server_loss"] = figures_of.exact(self._server.gap, "s")
        return figures

    def samples(self) -> Iterator[Sample]:
        """Yields the raw values of the faults."""
        for name, figure in self.figures().items():
            yield Sample(f"fault.{name}", figure.value, figure.unit)


def keys_in_memory(deployment: Deployment) -> Invariant:
    """No process that only relays has a live data key in its memory or a cipher of ours mapped.

    The same scan finds both in a client.
    """
    plan = deployment.plan
    wanted: dict[str, bytes] = {}
    for group in plan.groups:
        wanted |= key_forms(deployment.keys(plan.clients(group.vpn_id)[0].name))

    def found(name: str) -> int:
        process = deployment.processes[name].pid
        hits = scan(process, wanted).found.values()
        return sum(len(places) for places in hits) + len(cipher_modules(process))

    relays = {relay.name: found(relay.name) for relay in plan.relays}
    client = found(plan.clients()[0].name)
    keys = len(wanted) // len(key_forms([{"key": "00", "spi": 0}]))
    detail = f"{keys} keys and the cipher: found in servers {relays}; in a client {client} times"
    return Invariant(bool(keys) and client > 0 and not any(relays.values()), detail)


def _as_invariant(choices: Choices) -> Invariant:
    if not choices.made:
        return Invariant(True, "not applicable: all servers are equally near to every client")
    held = choices.nearest == choices.made >= LEAST_CHOICES
    return Invariant(held, f"{choices.nearest} of {choices.made} registrations")


def _of_representative(lost: RepresentativeLoss) -> dict[str, Invariant]:
    ids = lost.sender_ids
    waiting = f"registered again {lost.away:.1f} s after its end"
    if lost.waited is None:
        waiting = f"not applicable: the stream needs every client; all {waiting}"
    return {
        "frames_go_on_without_the_representative": Invariant(
            not lost.missing and not lost.repeated,
            f"{lost.missing} frames missing and {lost.repeated} repeated in {lost.away:.1f} s and on",
        ),
        "registrations_wait_for_the_representative": Invariant(lost.waited is not False, waiting),
        "representative_comes_back_with_new_keys": Invariant(
            not lost.spis_before & lost.spis_after, f"{len(lost.spis_after)} new SAs"
        ),
        "no_sender_id_is_given_twice_under_a_key": Invariant(
            len(ids) == len(set(ids)), f"{len(ids)} given, {len(set(ids))} different"
        ),
    }


def _of_server(lost: ServerLoss | None) -> dict[str, Invariant]:
    held, said = True, "not applicable: there is no other server"
    if lost is not None:
        held = lost.resumed and not lost.repeated
        said = (
            f"{lost.server} killed, now {lost.moved}; {lost.gap:.2f} s without a frame, "
            f"{lost.repeated} repeated"
        )
    return {"clients_of_a_lost_server_go_on_by_another": Invariant(held, said)}
