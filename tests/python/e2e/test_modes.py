"""Runs that wait for a person: a login shell, and the web front end behind its token."""

from __future__ import annotations

import shlex
import urllib.error
import urllib.request

import pytest
from e2e_site import DONE, Site, until


def test_interactive_is_ready_and_the_printed_login_works(site: Site, capfd) -> None:
    repo = site.repository()
    moments: list[str] = []
    from terok_sandbox.sandbox import LifecycleHooks

    hooks = LifecycleHooks(post_start=lambda: moments.append("start"), post_ready=lambda: moments.append("ready"))
    with site.model(DONE) as model:
        name = site.runner().run_interactive("claude", str(repo), hooks=hooks)
        login = next(line for line in capfd.readouterr().out.splitlines() if line.startswith("log in with: "))
        words = shlex.split(login.removeprefix("log in with: "))
        # Nobody has a terminal here; everything else is as printed.
        assert words[:2] == ["podman", "exec"] and words[-3:] == [name, "bash", "-l"]
        words = [word for word in words if word not in ("-it", "-ti", "-t", "-i", "--tty", "--interactive")]
        said = site.run(*words, "-c", "type -t claude; id -un; pwd; cat note.txt")
        assert said.stdout.splitlines() == ["function", "dev", "/workspace", "old line"], said.stderr
        answer = site.run(*words, "-c", "claude -p 'Say something'")
        assert "Nothing to do." in answer.stdout, answer.stdout + answer.stderr
    assert moments == ["start", "ready"]
    assert {r["key"] for r in model.steps("/v1/messages")} == {"accepted"}
    assert site.state_of(name) == "running"


def test_web_refuses_visitors_without_the_token(site: Site, capfd) -> None:
    if "toad" not in site.podman("run", "--rm", "--network", "none", site.image, "bash", "-lc", "type -P toad || true"):
        pytest.skip("web mode: toad needs Python 3.14, which the base image's distribution does not have")
    with site.model(DONE):
        site.runner().run_web(str(site.repository()))
        address = capfd.readouterr().out.splitlines()[-1]
        base, _, token = address.partition("/?token=")
        assert len(token) > 30
        until(lambda: _status(base) == 401, "the gate answers 401")
        assert _status(address) == 200


def _status(url: str) -> int:
    """The last status of a visitor who keeps cookies."""
    visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    try:
        with visitor.open(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
