"""Two containers of one user, of two projects: each has its own tokens, keys, sockets and repository, and no other's."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import pytest
from tenant import SOCKETS, Box, Tenant, Upstream, basic, handshake, http, status

Boxes = tuple[Tenant, Box, Box]


@pytest.fixture
def boxes(tenant: Tenant) -> Iterator[Boxes]:
    yield tenant, tenant.launch("alpha", "t1", 1), tenant.launch("beta", "t1", 2)


def ask(box: Box, token: str) -> tuple[str | int, bytes]:
    return box.where("broker"), http("/v1/models", Authorization=f"Bearer {token}")


def refs(box: Box, project: str, token: str, service: str = "git-receive-pack") -> tuple[str | int, bytes]:
    return box.where("gate"), http(f"/{project}.git/info/refs?service={service}", Authorization=basic(token))


# improves: 21-5.12-markers-scoped
def test_the_broker_honours_its_own_containers_token_only(boxes: Boxes, upstream: Upstream) -> None:
    tenant, one, two = boxes
    answers = tenant.call([ask(one, two.tokens["broker"]), ask(two, one.tokens["broker"])])
    assert [status(answer) for _, answer in answers] == [401, 401] and not upstream.keys
    # Another task of the same project is another container as well.
    third = tenant.launch("alpha", "t2", 3)
    answers = tenant.call([ask(one, third.tokens["broker"]), ask(third, one.tokens["broker"])])
    assert [status(answer) for _, answer in answers] == [401, 401] and not upstream.keys
    markers = (
        "terok-proxy-phantom-token:vault-handles-real-auth",
        "terok-proxy-codex-oauth-marker:vault-handles-real-auth",
    )
    assert [status(answer) for _, answer in tenant.call([ask(one, marker) for marker in markers])] == [401, 401]
    answers = tenant.call([ask(one, one.tokens["broker"]), ask(two, two.tokens["broker"])])
    assert [status(answer) for _, answer in answers] == [200, 200]
    assert upstream.keys == [third.key, two.key], "the second launch of a project stored the key anew"


def test_the_signer_lists_and_uses_its_own_projects_keys_only(boxes: Boxes) -> None:
    tenant, one, two = boxes
    answers = tenant.call([(box.where("ssh"), handshake(box.tokens["ssh"])) for box in (one, two)])
    assert one.blob in answers[0][1] and two.blob not in answers[0][1]
    assert two.blob in answers[1][1] and one.blob not in answers[1][1]
    wrong = [
        (one.where("ssh"), handshake(token)) for token in (two.tokens["ssh"], one.tokens["broker"], one.tokens["gate"])
    ]
    wrong += [(two.where("ssh"), handshake(one.tokens["ssh"]))]
    assert tenant.call(wrong) == [("closed", b"")] * 4


def test_the_gate_serves_its_own_repository_only(boxes: Boxes) -> None:
    tenant, one, two = boxes
    for service in ("git-upload-pack", "git-receive-pack"):
        wrong = [
            refs(one, "beta", one.tokens["gate"], service),
            refs(one, "alpha", two.tokens["gate"], service),
            refs(two, "alpha", two.tokens["gate"], service),
            refs(two, "alpha", one.tokens["gate"], service),
            refs(one, "nothing", one.tokens["gate"], service),
        ]
        assert [status(answer) for _, answer in tenant.call(wrong)] == [403] * 5
    answers = tenant.call([refs(one, "alpha", one.tokens["gate"]), refs(two, "beta", two.tokens["gate"])])
    assert [status(answer) for _, answer in answers] == [200, 200]


def test_a_token_of_one_service_opens_no_other(boxes: Boxes) -> None:
    tenant, one, _ = boxes
    assert status(tenant.call([ask(one, one.tokens["ssh"])])[0][1]) == 404, "no route is called ssh"
    assert status(tenant.call([ask(one, one.tokens["gate"])])[0][1]) == 401
    for token in (one.tokens["ssh"], one.tokens["broker"]):
        assert status(tenant.call([refs(one, "alpha", token)])[0][1]) == 403


# improves: 21-5.2-socket-no-window
def test_a_containers_folder_holds_its_own_sockets_and_nothing_else(boxes: Boxes) -> None:
    tenant, one, two = boxes
    for box in (one, two):
        assert stat.S_IMODE(box.folder.stat().st_mode) == 0o700
        found = {path.name: path.lstat().st_mode for path in box.folder.iterdir()}
        assert sorted(found) == ([] if tenant.tcp else sorted(SOCKETS.values()))
        assert all(stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600 for mode in found.values())
    ports = [port for box in (one, two) for port in box.ports.values() if port]
    assert len(set(ports)) == (6 if tenant.tcp else 0)


def test_audit_lines_tell_the_containers_apart(boxes: Boxes) -> None:
    tenant, one, two = boxes
    tenant.call([ask(one, one.tokens["broker"]), ask(two, two.tokens["broker"]), ask(two, one.tokens["broker"])])
    seen = [(line["scope"], line["subject"], line["credential_set"], line["outcome"]) for line in tenant.audit]
    assert seen[:2] == [("alpha", "t1", "alpha", "ok"), ("beta", "t1", "beta", "ok")]
    assert seen[2][3] == "invalid_token" and len(seen) == 3


def test_revoking_one_leaves_the_other(boxes: Boxes) -> None:
    tenant, one, two = boxes
    tenant.tell("""
with cfg.open_credential_db() as db: tell(db.revoke_tokens("alpha", "t1"))
""")
    answers = tenant.call([ask(one, one.tokens["broker"]), ask(two, two.tokens["broker"])])
    assert [status(answer) for _, answer in answers] == [401, 200]
    asked = [(box.where("ssh"), handshake(box.tokens["ssh"])) for box in (one, two)]
    first, second = tenant.call(asked)
    assert first == ("closed", b"") and two.blob in second[1]
