"""The metrics of several workers on one page."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from dispatcher.telemetry import metrics
from dispatcher.telemetry.siblings import Siblings, joined

ONE = """# HELP dispatcher_events_total Events.
# TYPE dispatcher_events_total counter
dispatcher_events_total{result="accepted",source="amqp"} 5.0
# HELP dispatcher_inflight Held.
# TYPE dispatcher_inflight gauge
dispatcher_inflight 3.0
# HELP dispatcher_backlog Waiting.
# TYPE dispatcher_backlog gauge
dispatcher_backlog{state="pending"} 7.0
"""


def test_each_sample_says_of_which_worker_it_is() -> None:
    page = joined({"1": ONE, "2": ONE.replace("5.0", "6.0")})
    lines = [line for line in page.splitlines() if line.startswith("dispatcher_events_total")]
    assert lines == [
        'dispatcher_events_total{worker="1",result="accepted",source="amqp"} 5.0',
        'dispatcher_events_total{worker="2",result="accepted",source="amqp"} 6.0',
    ]
    assert 'dispatcher_inflight{worker="2"} 3.0' in page
    assert page.count("# TYPE dispatcher_events_total counter") == 1


def test_metrics_that_they_share_are_reported_once() -> None:
    page = joined({"1": ONE, "2": ONE})
    assert page.count("dispatcher_backlog{") == 1
    assert 'dispatcher_backlog{state="pending"} 7.0' in page


def test_a_joined_page_of_real_metrics_can_be_read_by_prometheus() -> None:
    page = joined({"1": metrics.render().decode(), "2": metrics.render().decode()})
    families = {family.name: family for family in text_string_to_metric_families(page)}
    workers = {sample.labels.get("worker") for sample in families["dispatcher_batch_events"].samples}
    assert workers == {"1", "2"}
    of_the_database = ("dispatcher_backlog", "dispatcher_oldest_event_timestamp_seconds")
    for name in of_the_database:
        assert all("worker" not in sample.labels for sample in families[name].samples)


async def test_a_worker_collects_from_its_siblings_and_leaves_out_those_that_died(tmp_path: Path) -> None:
    one, two = Siblings(tmp_path, 1), Siblings(tmp_path, 2)
    await one.start()
    await two.start()
    (tmp_path / "3.sock").touch()
    page = (await one.render()).decode()
    assert 'dispatcher_inflight{worker="2"}' in page
    assert 'worker="3"' not in page
    one.close()
    two.close()
