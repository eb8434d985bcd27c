"""Our side: a scenario's frames in arrays. ``python -m experiments.ns3.arrays SCENARIO ARRIVALS LOADS``

It reads and writes the same files as fanout.cc, and prints its seconds of CPU time and its transmissions.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.ns3.scenario import Scenario, fan_out, read
from simulator.scale.levels import Integers, Routes, narrowest
from simulator.scale.queueing import Queues, carry


@dataclass(frozen=True)
class Outcome:
    """What a simulator says of a scenario, and what it took.

    ``arrivals``, shape (frames, clients): when each copy came (ns), -1 where none was due; ``loads``, shape
    (links, 2, 2): of each link, up and down, the packets and octets sent; ``seconds`` of CPU time without
    set-up and files.
    """

    arrivals: Integers
    loads: Integers
    seconds: float

    @property
    def transmissions(self) -> int:
        """Packets times links that they crossed."""
        return int(self.loads[:, :, 0].sum())


def simulate(scenario: Scenario) -> Outcome:
    """Works a scenario out; the clock starts when links and routes are laid, as it does for ns-3."""
    ways = [scenario.way_up(client) for client in range(len(scenario.clients))]
    up = 2 * np.array(ways, np.int64)
    queues = Queues(np.repeat(scenario.rates, 2), np.repeat(scenario.delays, 2))
    to_relay, from_relay = Routes.of(up, len(queues)), Routes.of(up[:, ::-1] + 1, len(queues))
    begin = time.process_time()
    risen = carry(queues, to_relay, scenario.senders, scenario.times, scenario.octets)
    order = np.argsort(risen.arrivals, kind="stable")
    others = np.arange(len(scenario.clients) - 1, dtype=narrowest(len(scenario.clients)))
    receivers = others + (others >= scenario.senders[order, None])
    leave, octets = risen.arrivals[order], scenario.octets[order]
    fallen = carry(queues, from_relay, receivers, leave, octets)
    arrivals = np.full((len(order), len(scenario.clients)), -1, np.int64)
    for frame, sender, came in zip(order, scenario.senders[order], fallen.arrivals, strict=True):
        arrivals[frame, :sender] = came[:sender]
        arrivals[frame, sender + 1 :] = came[sender:]
    loads = np.stack((risen.packets + fallen.packets, risen.octets + fallen.octets), axis=1)
    seconds = time.process_time() - begin
    return Outcome(arrivals, loads.reshape(-1, 2, 2), seconds)


def main(arguments: list[str]) -> None:
    """Does what the module says."""
    scenario, arrivals, loads = map(Path, arguments)
    simulate(fan_out((2, 2), 4, 0))  # loads what libraries load late, as set-up
    outcome = simulate(read(scenario))
    outcome.arrivals.tofile(arrivals)
    outcome.loads.tofile(loads)
    print(f"{outcome.seconds:.9f} {outcome.transmissions}")


if __name__ == "__main__":
    main(sys.argv[1:])
