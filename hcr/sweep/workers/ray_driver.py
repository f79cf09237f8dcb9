"""The Ray driver: a child process of the controller that isolates it from Ray's output and crashes.

    python -m hcr.sweep.workers.ray_driver FD

Ray blocks for a minute and then kills a process that has lost its cluster; here it kills this process only.
Both sides send pickles through the socket FD: the controller an `Order` and then commands, this process events and the
number of slots. When the socket closes, the controller has ended, and all trials are killed.
"""

import contextlib
import json
import logging
import os
import queue
import secrets
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import NodeDiedError, TaskUnschedulableError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hcr import stopping
from hcr.config.errors import ConfigError, TrackingError, one_line
from hcr.config.training import available_cores
from hcr.sweep.trial import CONFIG, ERROR, OUTPUT, TASK, read_task
from hcr.sweep.workers import LOST, Ended, Epoch, Event
from hcr.sweep.workers.alike import Facts, difference
from hcr.sweep.workers.ray_node import Slot, Turn, facts_of_node
from hcr.sweep.workers.transfer import Copy, read_files
from hcr.tracking.events import JOURNAL
from hcr.tracking.journal import append_event

TURN_S = 0.25  # length of one call that waits for a trial's events; a command waits until it returns
NODES_S = 2.0  # between two polls of the cluster's nodes
SILENT_S = 20.0  # without an answer, after which the cluster counts as lost
EMPTY_S = 30.0  # without a node that has room for a trial, likewise
CHECK_S = 60.0  # for a node to report its facts, including the start of a worker
CLOSE_S = 5.0
GONE = (NodeDiedError, TaskUnschedulableError, WorkerCrashedError)
MOST_DEATHS = 3  # consecutive deaths of a node's slots before it is no longer used
BUSY_S = 15.0  # to wait for a run's lock, which its upload may hold


@dataclass(frozen=True, kw_only=True)
class Order:
    """The controller's first request; see `RayConfig`.

    Attributes:
        here: the controller's facts.
        configs: configs of runs as plain values, from which a node determines its facts.
        precisions: of the runs on a CPU.
        is_given: True if `launcher.cpus_per_trial` is set.
    """

    address: str | None
    cpus: int
    is_given: bool
    gpus: float
    workers: int | None
    every: int
    here: Facts
    configs: Sequence[Mapping[str, Any]]
    precisions: Sequence[str]


@dataclass
class Place:
    """A slot on a node, and its trial.

    Attributes:
        waits: the trial waits after each epoch for the pruner's decision.
        is_waiting: it is waiting now.
        is_watched: a call for its events is in flight.
        answer, stop: to send with the next call.
    """

    node: str
    actor: Any
    is_ready: bool = False
    folder: Path | None = None
    copy: Copy | None = None
    waits: bool = False
    is_waiting: bool = False
    is_watched: bool = False
    answer: bool | None = None
    stop: str | None = None


@dataclass
class Node:
    """A node of the cluster.

    Attributes:
        room: slots that fit.
        deaths: consecutive deaths of its slots.
        places: its slots.
    """

    name: str
    room: int
    deaths: int = 0
    places: list[Place] = field(default_factory=list)


class Driver:
    """Fills the cluster with slots, and the slots with trials.

    Args:
        connection: to the controller.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._messages: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._nodes: dict[str, Node] = {}
        self._refused: set[str] = set()  # nodes not used, or not checked yet
        self._deaths: Counter[str] = Counter()  # by node: workers that died before they reported its facts
        self._pending: deque[tuple[Path, float]] = deque()  # trials, and since when they wait for a slot
        self._datasets: dict[str, Any] = {}
        self._sweep = secrets.token_hex(6)
        self._slots = 0
        self._seen_s = self._room_s = self._slots_s = time.monotonic()
        self._is_noted = False
        self._death = ""  # why the last slot died
        self._order = Order(**connection.recv())

    def serve(self) -> None:
        """Execute the controller's commands until it closes the socket or ends."""
        try:
            self._connect()
        except ConfigError as error:
            self._send("refused", one_line(error))
            return
        self._send("ready")
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._poll_nodes, daemon=True).start()
        threading.Thread(target=self._exit_when_silent, daemon=True).start()
        try:
            while self._handle_message():
                pass
        except (OSError, TrackingError) as error:  # on the controller's disk
            self._send("lost", f"files of a trial cannot be written here: {one_line(error)}")

    def _handle_message(self) -> bool:
        """Handle one message; False at the end."""
        try:
            what, *rest = self._messages.get(timeout=1)
        except queue.Empty:
            what, rest = "nothing", []
        if what == "close":
            self._close()
            return False
        if what == "order":
            self._execute(*rest)
        elif what == "nodes":
            self._update_nodes(rest[0])
        elif what == "facts":
            self._check_new_node(*rest)
        elif what in ("ready", "started"):
            self._handle_started(*rest)
        elif what == "turn":
            self._handle_turn(*rest)
        self._fill()
        self._report_slots()
        now = time.monotonic()
        if self._slots:
            self._slots_s = now
        elif now - self._slots_s > EMPTY_S and self._nodes and not self._is_noted:
            self._is_noted = True
            self._send("note", f"waiting for CPUs: Ray on {shown(self._order)} has too few free CPUs for a trial")
        if self._nodes:
            self._room_s = now
        if now - self._room_s > EMPTY_S:
            self._send("lost", self._death or "no node is left")
            os._exit(1)  # ray.shutdown() might block
        return True

    # Ray's answers arrive in its own threads: each is queued for the main thread.

    def _call(self, what: str, reference: Any, *rest: Any) -> None:
        reference.future().add_done_callback(lambda done: self._messages.put((what, *rest, done)))

    def _read(self) -> None:
        try:
            while True:
                self._messages.put(("order", *self._connection.recv()))
        except (EOFError, OSError):
            self._messages.put(("close",))
        time.sleep(2 * CLOSE_S)
        os._exit(1)  # Ray does not answer

    def _poll_nodes(self) -> None:
        while True:
            time.sleep(NODES_S)
            with contextlib.suppress(Exception):  # no answer
                self._messages.put(("nodes", alive_nodes()))
                self._seen_s = time.monotonic()

    def _exit_when_silent(self) -> None:
        """Exit when the cluster stops answering: any call to Ray may block."""
        while time.monotonic() - self._seen_s < SILENT_S:
            time.sleep(1)
        print(f"no answer for {SILENT_S:.0f} s", flush=True)
        os._exit(1)

    # The cluster.

    def _connect(self) -> None:
        order = self._order
        where: dict[str, Any] = (
            {"address": order.address} if order.address else {"address": "local", "num_cpus": available_cores()}
        )
        if order.address is None:
            where |= {"include_dashboard": False}
        try:
            ray.init(**where, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises many kinds
            raise ConfigError(
                f"launcher.address: expected a running Ray at {shown(order)} ({one_line(error)})"
            ) from error
        nodes = alive_nodes()
        rooms = {name: self._room(node) for name, node in nodes.items()}
        if not any(rooms.values()):
            raise self._no_room(nodes)
        requests = {key: self._request_facts(key, node) for key, node in nodes.items() if rooms[key]}
        _, late = ray.wait(list(requests.values()), num_returns=len(requests), timeout=CHECK_S)
        for key, reference in requests.items():
            name = name_of(nodes[key])
            if reference in late:
                raise ConfigError(f"launcher.address: node {name} did not answer within {CHECK_S:.0f} s")
            try:
                problem = self._problem(name, reference.future())
            except GONE:  # Ray lists a dead node for some more seconds
                continue
            if problem:
                raise ConfigError(f"launcher.address: {problem}")
            self._nodes[key] = Node(name, rooms[key])
        self._seen_s = self._room_s = self._slots_s = time.monotonic()
        self._fill()

    def _request_facts(self, key: str, node: Mapping[str, Any]) -> Any:
        where = NodeAffinitySchedulingStrategy(key, soft=False)
        function = ray.remote(num_cpus=0, max_retries=0)(facts_of_node)
        return function.options(scheduling_strategy=where).remote(name_of(node), self._order.configs)

    def _problem(self, name: str, future: Any) -> str | None:
        """The reason why a node cannot be used, from its facts; None if it can.

        Raises:
            GONE: the node or its worker died.
        """
        try:
            there = future.result()
        except GONE:
            raise
        except Exception as error:
            why = one_line(getattr(error, "cause", None) or error)
            # Ray passes the node's traceback as text; its last ModuleNotFoundError names the missing module.
            missing = [line for line in str(error).splitlines() if "ModuleNotFoundError" in line]
            return f"node {name} cannot run hcr ({missing[-1].strip() if missing else why}); install it there"
        return difference(self._order.here, there, precisions=self._order.precisions)

    def _room(self, node: Mapping[str, Any]) -> int:
        has = node["Resources"]
        rooms = [has.get("CPU", 0) // self._order.cpus]
        rooms += [has.get("GPU", 0) / self._order.gpus] if self._order.gpus else []
        return int(min(rooms))

    def _no_room(self, nodes: Mapping[str, Mapping[str, Any]]) -> ConfigError:
        order = self._order
        most = {
            kind: max((node["Resources"].get(kind, 0) for node in nodes.values()), default=0) for kind in ("CPU", "GPU")
        }
        if most["CPU"] < order.cpus:
            key = "launcher.cpus_per_trial"
            of = "" if order.is_given else " (training.threads)"
            return ConfigError(
                f"{key}: expected at most {most['CPU']:g}, the CPUs of the largest node of Ray at {shown(order)},"
                f" got {order.cpus}{of}"
            )
        return ConfigError(
            f"launcher.gpus_per_trial: no node of Ray at {shown(order)} has {order.cpus} CPUs and {order.gpus:g} GPUs;"
            f" expected at most the GPUs of one node, {most['GPU']:g}"
        )

    def _update_nodes(self, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        """Drop nodes that left the cluster, and check new ones."""
        for key in list(self._nodes):
            if key not in nodes:
                self._drop_node(key)
        for key, node in nodes.items():
            if key not in self._nodes and key not in self._refused and (room := self._room(node)):
                self._refused.add(key)  # until it is checked
                self._call("facts", self._request_facts(key, node), key, name_of(node), room)

    def _check_new_node(self, key: str, name: str, room: int, future: Any) -> None:
        """Use a node that joined later, or refuse it."""
        try:
            problem = self._problem(name, future)
        except GONE:
            self._deaths[key] += 1
            if self._deaths[key] < MOST_DEATHS:  # check it again, if it is still there
                self._refused.discard(key)
            return
        if problem:
            self._send("note", f"{problem}; hcr does not use this node")
        else:
            self._refused.discard(key)
            self._nodes[key] = Node(name, room)

    def _drop_node(self, key: str) -> None:
        for place in list(self._nodes[key].places):
            self._drop_place(place)
        del self._nodes[key]

    def _fill(self) -> None:
        """Create slots where nodes have room, and start pending trials in free slots."""
        wanted = self._order.workers
        for _ in range(max((node.room for node in self._nodes.values()), default=0)):
            for key, node in self._nodes.items():  # one per node and round, to spread few slots evenly
                total = sum(len(each.places) for each in self._nodes.values())
                if len(node.places) < node.room and (wanted is None or total < wanted):
                    self._add_slot(key, node)
        for place in self._places():
            if self._pending and place.is_ready and place.folder is None:
                self._start(place, *self._pending.popleft())

    def _add_slot(self, key: str, node: Node) -> None:
        actor = ray.remote(Slot).options(
            num_cpus=self._order.cpus,
            num_gpus=self._order.gpus,
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(key, soft=False),
        )
        place = Place(key, actor.remote(self._sweep, key[:12], self._order.every))
        node.places.append(place)
        self._call("ready", place.actor.ready.remote(), place)

    def _handle_started(self, place: Place, future: Any) -> None:
        """Handle the start of a slot or of a trial in it."""
        if future.exception() is not None:
            self._handle_death(place, future.exception())
        else:
            place.is_ready = True

    # Trials.

    def _execute(self, what: str, *rest: Any) -> None:
        if what == "dataset":
            digest, dataset = rest
            self._datasets[digest] = ray.put(dataset)
        elif what == "start":
            self._pending.append((rest[0], time.monotonic()))
        else:
            place = next((place for place in self._places() if place.folder == rest[0]), None)
            if place is None:
                if what == "stop":
                    self._stop_pending(rest[0])
                return
            if what == "answer":
                place.answer = rest[1]
            else:
                place.stop = rest[1]
            self._request_turn(place)

    def _stop_pending(self, folder: Path) -> None:
        found = [each for each in self._pending if each[0] == folder]
        if found:
            self._pending.remove(found[0])
            self._send("events", [Ended(folder, stopping.INTERRUPTED)])

    def _start(self, place: Place, folder: Path, since_s: float) -> None:
        task = read_task(folder)
        try:
            place.copy = Copy(task.run)
        except BlockingIOError:
            if time.monotonic() - since_s > BUSY_S:
                self._send("events", [Ended(folder, LOST)])
            else:
                self._pending.append((folder, since_s))
            return
        place.folder, place.waits, place.is_waiting, place.answer, place.stop = folder, task.waits, False, None, None
        reference = self._datasets.get(task.dataset_digest or "")
        dataset = None if reference is None else (task.dataset_digest, [reference])
        trial = read_files(folder, (TASK, CONFIG, JOURNAL))
        self._call("started", place.actor.start.remote(trial, place.copy.content(), dataset), place)
        self._request_turn(place)

    def _request_turn(self, place: Place) -> None:
        """Call for the trial's next events, unless a call is in flight or the trial is waiting for an answer."""
        has_order = place.answer is not None or place.stop is not None
        if place.is_watched or (place.is_waiting and not has_order):
            return
        place.is_watched, place.is_waiting = True, False
        self._call("turn", place.actor.turn.remote(TURN_S, place.answer, place.stop), place)
        place.answer = place.stop = None

    def _handle_turn(self, place: Place, future: Any) -> None:
        place.is_watched = False
        if future.exception() is not None:
            self._handle_death(place, future.exception())
            return
        folder, turn = place.folder, future.result()
        if folder is None or place.copy is None:  # the slot was lost meanwhile
            return
        self._write_files(place.copy, folder, turn)
        events: list[Event] = [replace(event, folder=folder) for event in turn.events]
        if any(isinstance(event, Ended) for event in events):
            self._nodes[place.node].deaths = 0
            place.copy.release()
            place.folder = place.copy = None
        else:
            place.is_waiting = place.waits and any(isinstance(event, Epoch) for event in events)
            self._request_turn(place)
        if events:
            self._send("events", events)

    def _write_files(self, copy: Copy, folder: Path, turn: Turn) -> None:
        """Write the files that a node sent."""
        if turn.changes is not None:
            copy.apply(turn.changes)
        if turn.trial is not None:
            for name in (OUTPUT, ERROR):
                if name in turn.trial:
                    (folder / name).write_bytes(turn.trial[name])
            for line in turn.trial[JOURNAL].splitlines():
                append_event(folder, **json.loads(line))

    def _handle_death(self, place: Place, error: BaseException) -> None:
        """Handle the death of a slot, alone or with its node."""
        if place.node not in self._nodes or place not in self._nodes[place.node].places:
            return
        self._death = one_line(getattr(error, "cause", None) or error)
        print(f"a slot of {self._nodes[place.node].name} has died: {error}", flush=True)
        self._drop_place(place)
        node = self._nodes[place.node]
        node.deaths += 1
        if node.deaths >= MOST_DEATHS:
            self._send("note", f"node {node.name} is no longer used: its workers keep dying ({self._death})")
            self._refused.add(place.node)
            self._drop_node(place.node)

    def _drop_place(self, place: Place) -> None:
        self._nodes[place.node].places.remove(place)
        with contextlib.suppress(Exception):
            ray.kill(place.actor)
        folder, place.folder = place.folder, None
        if place.copy is not None:
            place.copy.release()
            place.copy = None
        if folder is not None:
            self._send("events", [Ended(folder, LOST)])

    # The end, and messages to the controller.

    def _close(self) -> None:
        places = self._places()
        with contextlib.suppress(Exception):
            closing = [place.actor.close.remote() for place in places if place.is_ready]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=CLOSE_S)
        for place in places:
            with contextlib.suppress(Exception):
                ray.kill(place.actor)

    def _places(self) -> list[Place]:
        return [place for node in self._nodes.values() for place in node.places]

    def _report_slots(self) -> None:
        slots = sum(place.is_ready for place in self._places())
        if slots != self._slots:
            self._slots = slots
            self._send("slots", slots)

    def _send(self, *message: Any) -> None:
        with contextlib.suppress(OSError):  # the controller has ended: "close" is queued
            self._connection.send(message)


def alive_nodes() -> dict[str, dict[str, Any]]:
    """The live nodes of the cluster, by id."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def name_of(node: Mapping[str, Any]) -> str:
    """The name of a node in messages."""
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def shown(order: Order) -> str:
    """The name of the cluster in messages."""
    return order.address or "this machine"


def main() -> None:
    """Serve the controller at the other end of the socket."""
    with socket.socket(fileno=int(sys.argv[1])) as control:
        connection = Connection(os.dup(control.fileno()))
    driver = Driver(connection)
    try:
        driver.serve()
    finally:
        ray.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
