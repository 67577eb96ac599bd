"""The container doctor: judgements over what a container answers, mending, groups, and a podman that does not answer."""

from __future__ import annotations

import io

import pytest
from domain_house import House
from terok.lib.orchestration.container_doctor import ContainerDoctor, run_container_doctor
from terok.lib.util.check_reporter import CheckReporter
from terok_sandbox.runtime import ExecResult, NullRuntime

Answers = dict[tuple[str, ...], ExecResult]
IDENTITY = "git: {human_name: Ann, human_email: ann@example.org}\n"


class Runtime(NullRuntime):
    """A running container that answers what it was told to, and remembers what it was asked."""

    def __init__(self, answers: Answers) -> None:
        super().__init__()
        self.answers, self.asked = answers, []

    def exec(self, container: object, cmd: list[str], *, timeout: float | None = None) -> ExecResult:
        self.asked.append(tuple(cmd))
        answer = self.answers.get(tuple(cmd), ExecResult(1, "", "no such thing"))
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def visit(house: House, monkeypatch: pytest.MonkeyPatch):
    def begin(answers: Answers | None = None, text: str = "", mode: str | None = "cli", state: str = "running"):
        house.project(text=f"project: {{security_class: gatekeeping}}\n{IDENTITY}{text}")
        task = house.task(**({"mode": mode} if mode else {}))
        runtime = Runtime(answers or {})
        if state:
            runtime.set_container_state(f"demo-{mode}-{task}", state)
        monkeypatch.setattr("terok.lib.core.runtime.resolve_runtime", lambda project=None: runtime)
        return task, runtime

    return begin


def git(*words: str) -> tuple[str, ...]:
    return ("git", "-C", "/workspace", *words)


def rows_of(found: list[tuple[str, str, str]]) -> dict[str, tuple[str, str]]:
    return {label: (severity, detail) for severity, label, detail in found}


def test_identity_and_origin_are_judged_and_the_identity_is_mended(visit) -> None:
    answers = {
        git("config", "user.name"): ExecResult(0, "Ann\n", ""),
        git("config", "user.email"): ExecResult(0, "eve@example.org\n", ""),
        git("remote", "get-url", "origin"): ExecResult(0, "https://user:secret@forge.example/x.git\n", ""),
        git("config", "user.email", "ann@example.org"): ExecResult(0, "", ""),
    }
    task, runtime = visit(answers)
    rows = rows_of(ContainerDoctor("demo", task).run(fix=True))
    assert rows["Git user.name"] == ("ok", "Ann")
    assert rows["Git user.email"][0] == "warn" and rows["  fix: Git user.email"][0] == "ok"
    assert git("config", "user.email", "ann@example.org") in runtime.asked
    severity, detail = rows["Git origin"]
    assert severity == "error" and "secret" not in detail and "forge.example" in detail


def test_the_gate_is_a_good_origin(visit) -> None:
    task, _ = visit({git("remote", "get-url", "origin"): ExecResult(0, "http://t@localhost:9418/demo.git\n", "")})
    assert rows_of(run_container_doctor("demo", task))["Git origin"][0] == "ok"


@pytest.mark.parametrize(
    ("mode", "state", "severity", "words"),
    [(None, "", "warn", "never run"), ("cli", "exited", "info", "exited"), ("cli", "", "info", "not found")],
)
def test_what_makes_checks_pointless(visit, mode: str | None, state: str, severity: str, words: str) -> None:
    task, runtime = visit(mode=mode, state=state)
    ((found, label, detail),) = ContainerDoctor("demo", task).run(label_prefix="x ")
    assert found == severity and words in detail and label == f"Task demo/{task}" and runtime.asked == []
    ((found, _, _),) = ContainerDoctor("demo", "g9zzz").run()
    assert found == "warn"


def test_a_damaged_record_and_a_podman_that_does_not_answer_are_warnings(
    visit, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from terok.lib.orchestration import tasks
    from terok_sandbox.runtime import PodmanRuntime

    task, _ = visit()
    monkeypatch.setattr("terok.lib.core.runtime.resolve_runtime", lambda project=None: PodmanRuntime())
    house.podman.plays("echo cannot connect >&2; exit 125")
    ((severity, _, detail),) = ContainerDoctor("demo", task).run()
    assert severity == "warn" and "cannot connect" in detail
    tasks.meta_path(tasks.tasks_meta_dir("demo"), task).write_text("mode: [cli\n")
    ((severity, _, detail),) = ContainerDoctor("demo", task).run()
    assert severity == "warn" and f"{task}_meta.yml" in detail


def test_a_container_that_does_not_answer_is_a_warning(visit) -> None:
    task, _ = visit({git("config", "user.name"): TimeoutError("no answer within 10 s")})
    severity, detail = rows_of(ContainerDoctor("demo", task).run())["Git user.name"]
    assert severity == "warn" and "no answer within 10 s" in detail


def test_what_the_container_says_does_not_steer_the_terminal(visit) -> None:
    task, _ = visit({git("config", "user.name"): ExecResult(0, "\x1b]0;owned\x07Ann\n", "")})
    assert "\x1b" not in rows_of(ContainerDoctor("demo", task).run())["Git user.name"][1]


# improves: 31-9-live-state
def test_the_firewalls_state_is_that_of_this_container(visit, monkeypatch: pytest.MonkeyPatch) -> None:
    from terok.lib.api import load_project
    from terok_sandbox.integrations.shield import ShieldManager
    from terok_shield.state import ShieldState

    task, _ = visit()
    (load_project("demo").tasks_root / task / "shield_desired_state").write_text("up\n")
    monkeypatch.setattr(ShieldManager, "state", lambda self, container: ShieldState.UP)
    assert rows_of(ContainerDoctor("demo", task).run())["Shield state"][0] == "ok"
    monkeypatch.setattr(ShieldManager, "state", lambda self, container: ShieldState.DOWN)
    assert rows_of(ContainerDoctor("demo", task).run())["Shield state"][0] == "warn"


def test_a_reporter_gets_groups_where_their_first_member_stands(visit) -> None:
    task, _ = visit()
    stream = io.StringIO()
    assert (
        ContainerDoctor("demo", task).run(reporter=CheckReporter(stream=stream, color=False), label_prefix="t/") == []
    )
    headings = [line.strip().split("  ")[0] for line in stream.getvalue().splitlines() if line.startswith("  t/")]
    assert headings.count("t/Git config") == 1 and headings.count("t/Phantom tokens") == 1
    assert headings.index("t/Bridges") < headings.index("t/Git config")


def test_tcp_mode_without_ports_is_a_users_mistake(visit, house: House) -> None:
    house.settings.write_text("services: {mode: tcp}\n")
    task, _ = visit()
    with pytest.raises(SystemExit, match=r"gate_server\.port"):
        ContainerDoctor("demo", task).run()


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_wanted_state_that_cannot_be_read_is_a_warning(visit, content: bytes | None) -> None:
    from terok.lib.api import load_project

    task, _ = visit()
    note = load_project("demo").tasks_root / task / "shield_desired_state"
    note.mkdir() if content is None else note.write_bytes(content)
    severity, detail = rows_of(ContainerDoctor("demo", task).run())["Shield state"]
    assert severity == "warn" and "cannot be read" in detail
