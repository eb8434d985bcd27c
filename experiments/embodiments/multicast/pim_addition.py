"""What a run with PIM routers adds: trees that stand before anything is counted, and cut links."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.deployment import Deployment
from experiments.embodiments.addition import Addition
from experiments.embodiments.course import Parameters
from experiments.embodiments.multicast.link_cuts import LinkCut, cut_links
from experiments.embodiments.multicast.standing_trees import raise_trees
from experiments.progress import Progress
from experiments.records import figures as figures_of
from experiments.records.record import Figure, Invariant, Sample
from experiments.traffic.terminals import settle

QUICK_CUTS = (3, 1)
FULL_CUTS = (20, 10)
"""How many cuts the routers' kernels see, and how many they do not."""
STEPS = ("trees rise", "links of the tree are cut")
"""Steps beside the common ones, which alone the time to go is told from."""


class PimAddition(Addition):
    """Raises the trees before the common course and cuts links after it."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._cuts: Sequence[LinkCut] = ()

    def before(
        self, deployment: Deployment, private: Path, progress: Progress
    ) -> dict[str, dict[str, int]]:
        """Raises the trees, and reads the clients' counters when the last frame is through."""
        progress.step(STEPS[0], weight=0)
        raise_trees(deployment.network, private / "rising")
        names = [client.name for client in deployment.plan.clients()]
        counters: dict[str, dict[str, int]] = settle(
            lambda: {name: deployment.status(name)["counters"] for name in names},
            asleep=deployment.network.asleep,
        )
        return counters

    def after(
        self, deployment: Deployment, private: Path, progress: Progress
    ) -> dict[str, Invariant]:
        """Cuts links while frames flow, and says whether they flowed again each time."""
        progress.step(STEPS[1], weight=0)
        # Checking may have taken longer than routers keep the trees of silent sources.
        raise_trees(deployment.network, private / "rising-again")
        chance = random.Random(self._parameters.seed)
        wanted = QUICK_CUTS if self._parameters.quick else FULL_CUTS
        self._cuts = cut_links(deployment.network, private / "cuts", chance, *wanted)
        if not self._cuts:
            said = "not applicable: no link between multicast routers has a way round it"
            return {"frames_flow_again_after_a_tree_link_is_cut": Invariant(True, said)}
        lasting = [cut.describe() for cut in self._cuts if not cut.resumed]
        detail = "; ".join(lasting or [cut.describe() for cut in self._cuts])
        held = not lasting and len(self._cuts) == sum(wanted)
        return {"frames_flow_again_after_a_tree_link_is_cut": Invariant(held, detail)}

    def figures(self) -> dict[str, Figure]:
        """Returns the mean gaps after cuts of either kind, and without any."""
        ended = [cut for cut in self._cuts if cut.resumed]
        seen = [cut.gap for cut in ended if cut.seen]
        unseen = [cut.gap for cut in ended if not cut.seen]
        return {
            **_mean("gap_before_link_cut", [cut.gap_before for cut in self._cuts]),
            **_mean("gap_after_link_cut", seen),
            **_mean("gap_after_unseen_link_cut", unseen),
        }

    def samples(self) -> Iterator[Sample]:
        """Yields the gap of every cut and the one before it."""
        for number, cut in enumerate(self._cuts, 1):
            labels = {"cut": str(number), "link": cut.link, "seen": str(cut.seen).lower()}
            yield Sample("gap.before", cut.gap_before, "s", labels)
            yield Sample("gap.after", cut.gap, "s", labels)


def _mean(name: str, values: Sequence[float]) -> dict[str, Figure]:
    return {name: figures_of.mean(values, "s")} if values else {}
