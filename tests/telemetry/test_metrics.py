from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

import dispatcher
from dispatcher.telemetry import metrics
from dispatcher.telemetry.loop_metrics import LoopCounter, LoopHistogram


def samples() -> dict[str, float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {f"{s.name}{sorted(s.labels.items())}": s.value for family in families for s in family.samples}


def test_metrics_have_the_names_and_labels_that_dashboards_rely_on() -> None:
    labels = {
        "dispatcher_events": ("source", "result"),
        "dispatcher_deliveries": ("kind", "outcome"),
        "dispatcher_attempt_seconds": ("kind",),
        "dispatcher_mails": ("result",),
        "dispatcher_delivery_delay_seconds": (),
        "dispatcher_backlog": ("state",),
        "dispatcher_breakers_open": (),
        "dispatcher_dead_letters": ("reason",),
        "dispatcher_store_up": (),
        "dispatcher_amqp_connected": (),
        "dispatcher_inflight": (),
        "dispatcher_batch_seconds": (),
        "dispatcher_batch_events": (),
        "dispatcher_leases_lost": (),
    }
    families = {family.name: family.documentation for family in metrics.REGISTRY.collect()}
    assert labels.keys() <= families.keys()
    known = {m._name: m._labelnames for m in vars(metrics).values() if hasattr(m, "_labelnames")}
    known |= {m.name: m.labels for m in vars(metrics).values() if isinstance(m, (LoopCounter, LoopHistogram))}
    assert {name: known[name] for name in labels} == labels
    assert all(families.values())


def test_what_is_counted_is_rendered() -> None:
    name = "dispatcher_dead_letters_total[('reason', 'json')]"
    before = samples().get(name, 0)
    metrics.DEAD_LETTERS.labels("json").inc(2)
    assert samples()[name] == before + 2


def test_the_version_is_reported() -> None:
    assert any(
        name.startswith("dispatcher_build_info") and dispatcher.__version__ in name for name in samples()
    )


def test_memory_and_open_files_of_the_process_are_reported() -> None:
    found = samples()
    assert found["process_resident_memory_bytes[]"] > 0
    assert found["process_open_fds[]"] > 0


def test_no_metric_says_when_it_was_made() -> None:
    assert not [name for name in samples() if "_created[" in name]
