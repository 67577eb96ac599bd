"""Where the credentials of a project go."""

from __future__ import annotations

import pytest
from domain_house import House
from terok.lib.domain import auth

OWN = "project: {security_class: online}\ncredentials: {scope: project}\n"


def test_a_project_of_its_own_has_a_private_directory_and_a_set(house: House) -> None:
    root = house.project(text=OWN)
    house.project("other")
    assert auth.resolve_credential_routing("demo") == (root / "mounts", "demo")
    assert (root / "mounts").stat().st_mode & 0o777 == 0o700
    shared = auth.resolve_credential_routing(None)
    assert shared[1] == "default" and auth.resolve_credential_routing("other") == shared


def test_a_directory_that_cannot_be_made_is_a_users_mistake(house: House) -> None:
    (house.project(text=OWN) / "mounts").write_text("in the way")
    with pytest.raises(SystemExit, match="cannot keep credentials in"):
        auth.resolve_credential_routing("demo")


# improves: 12-4.5-work-tree
def test_logins_in_a_work_tree_are_warned_of(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house.project(text=OWN)
    ran = []
    monkeypatch.setattr("terok.lib.domain.auth.Authenticator.run", lambda *given, **said: ran.append(said))
    auth.authenticate("claude", "demo")
    assert "work tree" not in capsys.readouterr().err
    (house.projects / ".git").mkdir()
    auth.authenticate("claude", "demo")
    assert f"git work tree `{house.projects}`" in capsys.readouterr().err
    auth.authenticate("claude")
    assert capsys.readouterr().err == ""
    assert [said["credential_set"] for said in ran] == ["demo", "demo", "default"]
