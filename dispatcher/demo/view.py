"""What a person sees of the demo: on a terminal a table above the latest lines, elsewhere all lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from email.message import EmailMessage

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dispatcher.client.models import Attempt, Delivery, DeliveryDetail, Event
from dispatcher.demo.picture import Came, News, Picture
from dispatcher.demo.receivers import Inbox
from dispatcher.domain.deliveries import State

Show = Callable[[Iterable[Text]], None]
"""Takes new lines, and brings up to date whatever else is shown."""

_NUMBERS = ("delivered", "waiting", "attempts", "received")
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


def deliveries_table(picture: Picture, receivers: Mapping[str, Inbox]) -> Table:
    """A row for each subscription, whose id leads to its receiver: how its deliveries stand, what arrived."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading in ("subscription", *_NUMBERS, "signed"):
        table.add_column(heading, justify="right" if heading in _NUMBERS else "left", no_wrap=True)
    table.add_column("last answer")  # the one that gives way when there is not enough room
    for subscription_id, receiver in receivers.items():
        table.add_row(*_row(picture.of(subscription_id), receiver))
    return table


def received_lines(receivers: Iterable[Inbox]) -> Iterator[Text]:
    """The last request that each receiver took, by which one sees what became of the variables."""
    heading = "Received"
    for receiver in receivers:
        if receiver.last:
            yield line(heading, f"{receiver.plan.name:<10}  {receiver.last}")
            heading = ""


def mail_lines(message: EmailMessage | None) -> Iterator[Text]:
    """A message as text, line by line."""
    part = None if message is None else message.get_body(("plain",))
    if message is None or part is None:
        return
    yield line("E-mail", f"Subject: {message['Subject']}")
    for text in part.get_content().splitlines():
        yield line("", f"| {text}")


def line(heading: str, text: str) -> Text:
    """A line of the closing summary."""
    return Text.assemble((f"{heading:<11} ", "bold"), text)


def _row(deliveries: Sequence[DeliveryDetail], receiver: Inbox) -> Iterable[Text]:
    delivered = sum(delivery.state == State.DELIVERED for delivery in deliveries)
    waiting = sum(not delivery.ended for delivery in deliveries)
    attempts = [attempt for delivery in deliveries for attempt in delivery.latest_attempts]
    last = max(attempts, key=lambda attempt: attempt.ended_at, default=None)
    yield Text(receiver.plan.name, style="bold")
    yield Text(f"{delivered}", style="green" if delivered else "dim")
    yield Text(f"{waiting}", style="yellow" if waiting else "dim")
    yield Text(f"{len(attempts)}")
    yield Text(f"{len(receiver.received)}") if receiver.is_open else Text("down", style="red")
    good = "good" if receiver.plan.to is None else "mail"
    yield Text("forged", style="bold red") if receiver.forged else Text(good if receiver.received else "")
    yield Text("") if last is None else _answer(last)


def news_line(news: News, names: Mapping[str, str], start: datetime) -> Text:
    """One piece of news as a line; `names` are those of the subscriptions, `start` when the clock began."""
    if isinstance(news, Came):
        event = news.event
        return _line(news.at, start, ("event       ", "bold"), _what(event), event.owner or "")
    delivery, attempt = news.delivery, news.attempt
    again = ""
    if attempt.number == delivery.attempts and delivery.due_at is not None:
        again = f", again in {(delivery.due_at - news.at).total_seconds():.1f} s"
    name, number = f"  {names[delivery.subscription_id]:<10}", (f"{attempt.number}: ", "dim")
    return _line(news.at, start, name, _what(delivery), number, _answer(attempt), (again, "yellow"))


def note_line(text: str, at: datetime, start: datetime) -> Text:
    """Something that the demo itself does, as a line."""
    return _line(at, start, (text, "italic"))


def _line(at: datetime, start: datetime, *parts: str | Text | tuple[str, str]) -> Text:
    clock = (f"{(at - start).total_seconds():6.2f} s  ", "dim")
    return Text.assemble(clock, *parts, no_wrap=True, overflow="ellipsis")


def short(job_id: str) -> str:
    """The part of a job's id that tells it from the other jobs of the story."""
    return job_id.partition("-")[0]


def _what(happened: Event | Delivery) -> Text:
    name = (f"{happened.event:<18} ", _STYLES.get(happened.event, ""))
    return Text.assemble(name, f"{short(happened.job_id):<20}")


def _answer(attempt: Attempt) -> Text:
    if attempt.error is None:
        return Text(f"{attempt.status or 'sent'}", style="green")
    return Text(attempt.error, style="red", no_wrap=True, overflow="ellipsis")
