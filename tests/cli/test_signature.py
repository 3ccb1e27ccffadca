from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from dispatcher.targets.signing import Signer, public_key
from tests.cli.conftest import Run
from tests.factories import SECRET

BODY = '{"event": "FINISHED"}'
AT = 1_777_896_000


@pytest.fixture
def body(tmp_path: Path) -> str:
    (tmp_path / "body.json").write_text(BODY)
    return "body.json"


def signature() -> str:
    return Webhook(SECRET).sign("dlv_1", datetime.fromtimestamp(AT, UTC), BODY)


def verify(run: Run, body: str, **changes: str) -> tuple[int, str]:
    options = {
        "secret": SECRET,
        "id": "dlv_1",
        "timestamp": str(AT),
        "signature": signature(),
        "at": str(AT + 5),
    }
    result = run("signature", "verify", *(f"--{k}={v}" for k, v in {**options, **changes}.items()), body)
    return result.code, result.err


def test_signing_prints_the_headers_that_a_receiver_accepts(run: Run, body: str) -> None:
    result = run("signature", "sign", "--secret", SECRET, "--id", "dlv_1", "--timestamp", str(AT), body)
    assert result.code == 0
    assert dict(line.split(": ", 1) for line in result.out.splitlines()) == {
        "webhook-id": "dlv_1",
        "webhook-timestamp": str(AT),
        "webhook-signature": signature(),
    }


def test_the_body_comes_from_stdin_and_the_secret_from_the_environment(run: Run) -> None:
    result = run(
        *("signature", "sign", "--id", "dlv_1", "--timestamp", str(AT)),
        stdin=BODY.encode(),
        WEBHOOK_SECRET=SECRET,
    )
    assert f"webhook-signature: {signature()}\n" in result.out


def test_a_signature_of_now_is_good_now(run: Run, body: str) -> None:
    signed = run("signature", "sign", "--secret", SECRET, "--id", "dlv_1", body)
    headers = dict(line.split(": ", 1) for line in signed.out.splitlines())
    options = [f"--{name.removeprefix('webhook-')}={value}" for name, value in headers.items()]
    assert run("signature", "verify", "--secret", SECRET, *options, body).code == 0


def test_a_good_signature_is_confirmed(run: Run, body: str) -> None:
    assert verify(run, body) == (0, "The signature is good.\n")


def test_a_public_key_checks_a_signature_v1a(run: Run, body: str) -> None:
    signed = Signer([SECRET], asymmetric=True).headers("dlv_1", AT, BODY.encode())
    given = {"secret": public_key(SECRET), "signature": signed["webhook-signature"]}
    assert verify(run, body, **given) == (0, "The signature is good.\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "dlv_2"}, "another secret, or a body that was changed"),
        ({"signature": "v2,abc"}, "holds no signature of scheme v1"),
        ({"timestamp": "soon"}, "is no number of seconds"),
        ({"at": str(AT + 301)}, "301 s in the past"),
    ],
)
def test_a_bad_signature_ends_with_1_and_why(
    run: Run, body: str, changes: dict[str, str], message: str
) -> None:
    code, err = verify(run, body, **changes)
    assert code == 1
    assert message in err


def test_a_malformed_secret_is_a_wrong_call_and_is_not_repeated(run: Run, body: str) -> None:
    code, err = verify(run, body, secret="whsec_hunter22")
    assert code == 2
    assert "whsec_ and 24 to 64 bytes in base64" in " ".join(err.split())
    assert "hunter22" not in err


def test_a_file_that_cannot_be_read_is_named(run: Run) -> None:
    code, err = verify(run, "missing.json")
    assert code == 2
    assert "missing.json cannot be read" in err
