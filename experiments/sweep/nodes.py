"""What a sweep on two Ray nodes loses when one of them is killed: nothing.

    python experiments/sweep/nodes.py grid|search

The sweep of `kill.py` is made once on this machine alone. Then it is made on a Ray cluster of two nodes, which are
processes of this machine with folders of their own and no shared disk, and one of them is killed while it trains (of a
search, whose points depend on the order of results, only one node has a slot, and none is killed). Printed is what
`kill.py` prints, and how many epochs each run was trained.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from kill import COMMANDS, begin, compare, events_of, finished

TIMEOUT_S = 900


def main():
    from ray.cluster_utils import Cluster

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=COMMANDS)
    what = parser.parse_args().what
    with tempfile.TemporaryDirectory() as name:
        whole, spread = Path(name) / "whole", Path(name) / "spread"
        assert begin(whole, COMMANDS[what]).wait() == 0
        print("on this machine alone: done", flush=True)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            nodes = []
            for node in "ab" if what == "grid" else "a":
                (Path(name) / node).mkdir()
                nodes.append(cluster.add_node(num_cpus=1, env_vars={"TMPDIR": str(Path(name) / node)}))
            address = ("launcher=ray", f"launcher.address={cluster.address}")
            process = begin(spread, (*COMMANDS[what], *address))
            if what == "grid":
                lose_one(cluster, nodes[0], spread, process)
            assert process.wait(TIMEOUT_S) == 0
        finally:
            cluster.shutdown()
        compare(whole, spread)
        for root in (whole, spread):
            print(f"epochs of each run, {'alone' if root == whole else 'on nodes'}: {epochs_of(root)}")


def lose_one(cluster, node, root, process):
    """Kill a node once a third of the runs have finished and others are in mid-training."""
    deadline = time.monotonic() + TIMEOUT_S
    while len(finished(root)) < 4 or not any(0 < epochs < 4 for epochs in epochs_of(root)):
        assert process.poll() is None, "the sweep has ended"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    before = len(finished(root))
    cluster.remove_node(node, allow_graceful=False)
    print(f"one of two nodes killed; {before} runs had finished", flush=True)


def epochs_of(root):
    """How many epochs each run of a sweep was trained, in order."""
    return sorted(
        sum("train/loss" in event.get("values", {}) for event in events)
        for events in events_of(root).values()
        if events[0]["parent"]
    )


if __name__ == "__main__":
    sys.exit(main())
