"""What the store should do with deliveries, in plain Python: the oracle of test_model.py.

It knows nothing of tables. A due time is `now`, `later` or None for what is held.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dispatcher.domain.deliveries import OpenDelivery, Outcome, State
from dispatcher.domain.subscriptions import Subscription, SubscriptionStatus

Due = Literal["now", "later"] | None
ENDINGS = {"disabled": State.CANCELLED, "completed": State.SUPERSEDED}


@dataclass
class Group:
    """The digest that gathers now: who leads it, when it goes, how many it has; and whether one went just before."""

    most: int
    leader: str | None = None
    due: Due = None
    count: int = 0
    sent: bool = False

    def place(self, delivery_id: str) -> str | None:
        """Let a delivery in. Its leader, or None when it leads from now on."""
        if self.leader is not None and self.count < self.most:
            self.count += 1
            return self.leader
        if self.leader is None:
            self.due = "later" if self.sent else "now"
        self.leader, self.count = delivery_id, 1
        return None


@dataclass
class Client:
    """A subscription: its digests, and for each job whose turn it is and in which order all came."""

    stored: Subscription
    groups: dict[str, Group]
    status: SubscriptionStatus = "active"
    removed: bool = False
    turns: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    came: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def wants(self) -> bool:
        return self.status == "active" and not self.removed


@dataclass
class Kept:
    """A delivery. `old`: it has waited for too long. `over`: it has ended at least once."""

    new: OpenDelivery
    client: Client
    state: State = State.PENDING
    due: Due = None
    holder: int | None = None
    attempts: int = 0
    old: bool = False
    over: bool = False

    @property
    def job(self) -> str:
        return self.new.event.job_id

    @property
    def behind(self) -> bool:
        turns = self.client.turns[self.job]
        return self.new.id in turns[1:]


class Model:
    """Every delivery, and who waits for whom in digests."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.leader_of: dict[str, str] = {}

    def ids(self, *states: State) -> list[str]:
        """Those in one of these states, the oldest first."""
        return sorted(key for key, one in self.kept.items() if one.state in states)

    def held_by(self, process: int) -> list[str]:
        return sorted(key for key, one in self.kept.items() if one.holder == process)

    def members(self, leader: str) -> list[str]:
        return sorted(key for key, its in self.leader_of.items() if its == leader)

    # In

    def enter(self, one: Kept, process: int | None) -> None:
        """Take a new one in. `process` has claimed it, if it lives."""
        key, client = one.new.id, one.client
        self.kept[key] = one
        if one.new.lease_id:
            one.state, one.holder = (State.PENDING, None) if process is None else (State.DELIVERING, process)
            one.due = "now" if process is None else None
        if client.stored.ordered:
            client.turns[one.job].append(key)
            client.came[one.job].append(key)
            one.due = None if one.behind else one.due
        if client.stored.digest is not None:
            group = client.groups["digest"]
            leader = group.place(key)
            one.due = None if leader or client.status == "paused" else group.due
            if leader:
                self.leader_of[key] = leader

    # Claims

    def due(self, destination: str) -> list[Kept]:
        """What a claim may take of a destination, wanted or not."""
        to = [one for one in self.kept.values() if one.client.stored.destination == destination]
        return [one for one in to if one.state is State.PENDING and one.due == "now"]

    def claim(self, process: int, ids: Iterable[str]) -> None:
        for key in ids:
            one = self.kept[key]
            one.state, one.due, one.holder = State.DELIVERING, None, process

    def settle_unwanted(self) -> None:
        """What a claim does with all that is due to a subscription that is not in use."""
        for one in list(self.kept.values()):
            if one.state is State.PENDING and one.due == "now" and not one.client.wants:
                one.due = None
                if one.client.removed or one.client.status != "paused":
                    state = State.CANCELLED if one.client.removed else ENDINGS[one.client.status]
                    self.end(one, state)
                    self.pass_on([one.new.id])
                    self.leave(one.new.id)

    def free(self, process: int) -> int:
        """Give back what a process holds. How many."""
        held = self.held_by(process)
        for key in held:
            one = self.kept[key]
            one.state, one.due, one.holder = State.PENDING, "now", None
        return len(held)

    # Outcomes

    def end(self, one: Kept, state: State) -> None:
        one.state, one.due, one.holder, one.over = state, None, None, True

    def finish(self, written: Sequence[tuple[Outcome, Due]]) -> None:
        """Settle what a process had, and then all that follows from that."""
        for outcome, due in written:
            one = self.kept[outcome.delivery_id]
            one.attempts = outcome.attempts
            if outcome.state.final:
                self.end(one, outcome.state)
            else:
                one.state, one.due, one.holder = State.PENDING, due, None
        self.pass_on([outcome.delivery_id for outcome, _ in written if outcome.ordered])
        for outcome, _ in written:
            if outcome.state.final and outcome.attempt is None:
                self.leave(outcome.delivery_id)
        for outcome, due in written:
            if outcome.leads:
                self.settle(outcome.delivery_id)
            if outcome.joins is not None:
                self.gather(outcome.delivery_id, due)

    def pass_on(self, ids: Collection[str]) -> None:
        """Take the turns of those that have ended; the next of their jobs may go."""
        for key in ids:
            one = self.kept[key]
            turns = one.client.turns[one.job]
            if key in turns:
                if one.state.final:
                    turns.remove(key)
                self._let_first_go(one.client, one.job)

    def behind(self, one: Kept) -> list[Kept]:
        """What waits for its turn behind this one."""
        turns = one.client.turns[one.job]
        later = turns[turns.index(one.new.id) + 1 :] if one.new.id in turns else []
        return [kept for key in later if (kept := self.kept[key]).state is State.PENDING and kept.due is None]

    def _let_first_go(self, client: Client, job: str) -> None:
        if client.turns[job] and client.status == "active":
            first = self.kept[client.turns[job][0]]
            if first.state is State.PENDING and first.due is None:
                first.due = "now"

    def mend_turns(self) -> None:
        heads = [
            (one.client, one.job, one)
            for one in self.kept.values()
            if one.client.turns[one.job][:1] == [one.new.id]
        ]
        for _, _, head in heads:
            if head.state.final or (head.state is State.PENDING and head.due is None):
                self.pass_on([head.new.id])

    # Digests

    def take(self, leader: str) -> list[str]:
        """Close the digest that one leads; its members."""
        for group in self.kept[leader].client.groups.values():
            if group.leader == leader:
                group.leader, group.due, group.count, group.sent = None, None, 0, True
        return self.members(leader)

    def settle(self, leader: str) -> None:
        """End the members of a leader that has ended as it ended, each with that attempt."""
        its = self.kept[leader]
        for key in self.members(leader):
            del self.leader_of[key]
            one = self.kept[key]
            if one.state is State.PENDING:
                if its.attempts:
                    one.attempts = max(its.attempts, one.attempts + 1)
                self.end(one, its.state)

    def mend_digests(self) -> None:
        for leader in set(self.leader_of.values()):
            if self.kept[leader].state.final:
                self.settle(leader)

    def gather(self, key: str, due: Due) -> None:
        """Let a delivery join what is too much for its recipient now."""
        group = self.kept[key].client.groups["overflow"]
        leader = group.place(key)
        if leader is None:
            group.due = self.kept[key].due = due
            return
        for member in self.members(key):
            self.leader_of[member] = leader
            group.count += 1
        self.leader_of[key], self.kept[key].due = leader, None

    def leave(self, key: str) -> None:
        """Take one out of its digest; when it led, its oldest member leads now."""
        self.leader_of.pop(key, None)
        others = self.members(key)
        heir = others[0] if others else None
        due: Due = "now"
        for group in self.kept[key].client.groups.values():
            if group.leader == key:
                due = group.due
                group.leader, group.due = heir, group.due if heir else None
        if heir is not None:
            del self.leader_of[heir]
            for member in others[1:]:
                self.leader_of[member] = heir
            if self.kept[heir].state is State.PENDING:
                self.kept[heir].due = due

    # By hand and by age

    def send_again(self, key: str) -> None:
        one = self.kept[key]
        one.state, one.due, one.old = State.PENDING, "now", False

    def cancel(self, key: str) -> None:
        self.end(self.kept[key], State.CANCELLED)
        self.pass_on([key])
        self.leave(key)

    def expire(self, destination: str) -> int:
        """Exhaust what waits for its time and is too old, with those behind it that are as well. How many."""
        old = [
            one
            for one in self.kept.values()
            if one.client.stored.destination == destination
            and one.state is State.PENDING
            and one.due
            and one.old
            and not one.client.removed
        ]
        ending = {one.new.id: one for one in old}
        for one in old:
            ending |= {later.new.id: later for later in self.behind(one) if later.old}
        for one in ending.values():
            self.end(one, State.EXHAUSTED)
        self.pass_on(list(ending))
        count = len(ending)
        for leader in old:
            for key in self.members(leader.new.id):
                if self.kept[key].old and self.kept[key].state is State.PENDING:
                    self.end(self.kept[key], State.EXHAUSTED)
                    del self.leader_of[key]
                    count += 1
            self.leave(leader.new.id)
        return count

    def hours_pass(self) -> None:
        for one in self.kept.values():
            one.due = "now" if one.due else None
            for group in one.client.groups.values():
                group.due, group.sent = "now" if group.due else None, False

    # Subscriptions

    def waits_for(self, client: Client) -> list[Kept]:
        return [one for one in self.kept.values() if one.client is client and one.state is State.PENDING]

    def end_waiting(self, client: Client, state: State) -> None:
        """End what waits of a subscription. What is on its way keeps its turn."""
        for one in self.waits_for(client):
            self.end(one, state)
            self.leader_of.pop(one.new.id, None)
        for turns in client.turns.values():
            turns[:] = [key for key in turns if self.kept[key].state is State.DELIVERING]
        for name, group in client.groups.items():
            client.groups[name] = Group(group.most)

    def save(self, client: Client, status: SubscriptionStatus) -> None:
        """Change a subscription. One that wants no digests lets those go that were gathered for its recipient."""
        client.status = status
        if client.stored.digest is None:
            for one in self.waits_for(client):
                if self.leader_of.pop(one.new.id, None):
                    one.due = "now"
            client.groups["overflow"] = Group(client.groups["overflow"].most)
        if status == "active":
            self._release(client)

    def _release(self, client: Client) -> None:
        for one in self.waits_for(client):
            if one.due is None and not one.behind and one.new.id not in self.leader_of:
                one.due = "now"
