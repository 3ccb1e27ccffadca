"""What a person sees while the demo runs: on a terminal a table above the latest lines, elsewhere all lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dispatcher.demo.client import Attempt, DeliveryDetail
from dispatcher.demo.picture import Came, News, Picture
from dispatcher.demo.receivers import Receiver
from dispatcher.domain.deliveries import State

Show = Callable[[Iterable[Text]], None]
"""Takes new lines, and brings up to date whatever else is shown."""

_STYLES = {
    "FINISHED": "green",
    "FAILED": "bold red",
    "KILLED": "magenta",
    "STOPPED": "magenta",
    "RUNNING": "cyan",
}


@contextmanager
def live_view(console: Console, table: Callable[[], Table]) -> Iterator[Show]:
    """The table with the latest lines below it, as many as the terminal has room for; gone in the end."""
    latest: deque[Text] = deque(maxlen=console.height)
    with Live(console=console, auto_refresh=False, transient=True) as screen:

        def show(lines: Iterable[Text]) -> None:
            latest.extend(lines)
            above = table()
            room = console.height - len(above.rows) - 5
            screen.update(Group(above, *list(latest)[-max(room, 1) :]), refresh=True)

        show(())
        yield show


@contextmanager
def plain_view(console: Console) -> Iterator[Show]:
    """Every line, one after the other."""

    def show(lines: Iterable[Text]) -> None:
        for line in lines:
            console.print(line, soft_wrap=True)

    yield show


def deliveries_table(picture: Picture, receivers: Mapping[str, Receiver]) -> Table:
    """One row for each subscription, whose id leads to its receiver: how its deliveries stand, and what arrived."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in (
        "subscription",
        "delivered",
        "waiting",
        "attempts",
        "last answer",
        "received",
        "signatures",
    ):
        table.add_column(heading, no_wrap=True, justify="right" if heading in _NUMBERS else "left")
    for subscription_id, receiver in receivers.items():
        table.add_row(*_row(picture.of(subscription_id), receiver))
    return table


_NUMBERS = ("delivered", "waiting", "attempts", "received")


def _row(deliveries: Sequence[DeliveryDetail], receiver: Receiver) -> Iterable[Text]:
    delivered = sum(delivery.state is State.DELIVERED for delivery in deliveries)
    waiting = sum(not delivery.state.final for delivery in deliveries)
    attempts = [attempt for delivery in deliveries for attempt in delivery.latest_attempts]
    last = max(attempts, key=lambda attempt: attempt.ended_at, default=None)
    yield Text(receiver.plan.name, style="bold")
    yield Text(f"{delivered}", style="green" if delivered else "dim")
    yield Text(f"{waiting}", style="yellow" if waiting else "dim")
    yield Text(f"{len(attempts)}")
    yield Text("") if last is None else _answer(last)
    yield Text(
        f"{len(receiver.received)}" if receiver.is_open else "down", style="" if receiver.is_open else "red"
    )
    yield Text("forged", style="bold red") if receiver.forged else Text("good" if receiver.received else "")


def news_line(news: News, names: Mapping[str, str], start: datetime) -> Text:
    """One piece of news as a line; `names` are those of the subscriptions, `start` is when the clock began."""
    line = _clock(news.at, start)
    if isinstance(news, Came):
        event = news.event
        return (
            line.append("event     ", "bold")
            .append(_event(event.event))
            .append(f"{event.job_id}  {event.owner}")
        )
    delivery, attempt = news.delivery, news.attempt
    line.append(f"  {names[delivery.subscription_id]:<12}").append(_event(delivery.event))
    line.append(f"attempt {attempt.number}  ", "dim").append(_answer(attempt))
    if attempt.number == delivery.attempts and delivery.due_at is not None:
        line.append(f", again in {(delivery.due_at - news.at).total_seconds():.1f} s", "yellow")
    return line


def note_line(text: str, at: datetime, start: datetime) -> Text:
    """Something that the demo itself does, as a line."""
    return _clock(at, start).append(text, "italic")


def _clock(at: datetime, start: datetime) -> Text:
    return Text(f"{(at - start).total_seconds():6.2f} s  ", style="dim", no_wrap=True, overflow="ellipsis")


def _event(name: str) -> Text:
    return Text(f"{name:<18}  ", style=_STYLES.get(name, ""))


def _answer(attempt: Attempt) -> Text:
    if attempt.error is None:
        return Text(f"{attempt.status or 'sent'}", style="green")
    return Text(attempt.error, style="red")
