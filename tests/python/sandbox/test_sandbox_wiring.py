"""Wiring of containers that are run by hand: options, files, refusals, roll-back; and the verbs around it."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from double import IMAGE_ID, FakePodman
from terok_native import _lib
from terok_sandbox import SandboxConfig, cli, doctor, launch
from terok_sandbox.commands import COMMANDS, wiring
from terok_sandbox.vault.store.db import CredentialDB
from terok_sandbox.vault.store.encryption import NoPassphraseError

BRIDGES = "/usr/local/share/terok-sandbox/bridges"
RANGE = "0:2130706432:65536"
ROOT = os.geteuid() == 0
USERNS = ["--uidmap", RANGE, "--gidmap", RANGE] if ROOT else ["--userns=keep-id:uid=1000,gid=1000"]
OWNED = ",U" if ROOT else ""


@pytest.fixture(autouse=True)
def hooks(monkeypatch: pytest.MonkeyPatch, podman: FakePodman) -> None:
    """Installed hooks, and a podman that knows no container."""
    monkeypatch.setattr(_lib, "sandbox_check_hooks", lambda place, name: None)
    podman.plays("echo 'no such container' >&2; exit 1")


@pytest.fixture
def cfg(cfg: SandboxConfig) -> SandboxConfig:
    """With a vault that its passphrase in the configuration opens."""
    cfg = dataclasses.replace(cfg, credentials_passphrase="correct horse", credentials_use_keyring=False)
    cfg.vault_dir.mkdir(mode=0o700)
    CredentialDB(cfg.db_path, passphrase="correct horse").close()
    return cfg


def tokens(cfg: SandboxConfig) -> list[dict[str, str]]:
    db = cfg.open_credential_db()
    try:
        return db.list_tokens()
    finally:
        db.close()


def sidecar(cfg: SandboxConfig) -> dict[str, Any]:
    return json.loads((cfg.state_dir / "sidecar/c1.json").read_text())


def compose(cfg: SandboxConfig, name: str = "c1", **wishes: Any) -> tuple[list[str], launch.WiringPlan]:
    wanted = {"shield": False, "gate": False, "broker": True, "scope": "work"} | wishes
    return launch.compose(name, cfg=cfg, **wanted)


def left(cfg: SandboxConfig) -> list[str]:
    """Every trace of a container; the shared scripts and the journal's own files may stay."""
    roots = (Path(cfg.state_dir), Path(cfg.runtime_dir))
    found = [str(path.relative_to(root)) for root in roots for path in root.rglob("*")]
    return sorted(path for path in found if "c1" in path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# improves: 21-7.1-sidecar-private
def test_options_in_socket_mode(cfg: SandboxConfig) -> None:
    args, plan = compose(cfg, gate=True)
    (ssh,) = tokens(cfg)
    told = sidecar(cfg)
    assert args == [
        *("--network", "bridge" if ROOT else "private"),
        *("--cap-drop", "NET_ADMIN", "--cap-drop", "NET_RAW"),
        *USERNS,
        *_lib.sandbox_explicit_args(),
        *("--security-opt", f"seccomp={cfg.state_dir}/podman/seccomp-standard.json"),
        "-v",
        f"{cfg.state_dir}/bridges:{BRIDGES}:z,ro",
        "-v",
        f"{cfg.runtime_dir}/run/c1:/run/terok:z{OWNED}",
        "-e",
        "TEROK_VAULT_LOOPBACK_PORT=9419",
        "-e",
        "TEROK_GATE_SOCKET=/run/terok/gate-server.sock",
        "-e",
        f"TEROK_GATE_TOKEN={told['gate_token']}",
        "-e",
        f"TEROK_SSH_SIGNER_TOKEN={ssh['token']}",
        "-e",
        "TEROK_SSH_SIGNER_SOCKET=/run/terok/ssh-agent.sock",
        "--name",
        "c1",
        "--annotation",
        f"terok.sandbox.sidecar={cfg.state_dir}/sidecar/c1.json",
    ]
    assert plan == launch.WiringPlan(scope="work", shield=False, gate=True, broker=True, ssh=True)
    assert {k: ssh[k] for k in ("scope", "subject", "credential_set", "provider")} == {
        "scope": "work",
        "subject": "c1",
        "credential_set": "work",
        "provider": "ssh",
    }
    run = Path(cfg.state_dir) / "sandbox/runs/c1"
    assert (run / "meta.json").read_text() == json.dumps(dataclasses.asdict(plan), indent=2)
    assert (mode(run), mode(run / "meta.json"), mode(cfg.state_dir / "sidecar/c1.json")) == (0o700, 0o600, 0o600)
    assert mode(cfg.state_dir / "bridges/ensure-bridges.sh") == 0o755
    expected = {"scope_id": "work", "project_id": "work", "gate_scope": "work", "token_scope": "work"}
    expected |= {"token_subject": "c1", "gate_base_path": str(cfg.gate_base_path)}
    assert expected.items() <= told.items() and "gate_port" not in told


def test_options_in_tcp_mode(cfg: SandboxConfig) -> None:
    args, _ = compose(dataclasses.replace(cfg, services_mode="tcp"), gate=True)
    told, words = sidecar(cfg), [word for word in args if word.startswith("TEROK_")]
    assert words == [
        f"TEROK_TOKEN_BROKER_PORT={told['tcp_port']}",
        "TEROK_VAULT_LOOPBACK_PORT=9419",
        f"TEROK_GATE_PORT={told['gate_port']}",
        f"TEROK_GATE_TOKEN={told['gate_token']}",
        f"TEROK_SSH_SIGNER_TOKEN={tokens(cfg)[0]['token']}",
        f"TEROK_SSH_SIGNER_PORT={told['ssh_signer_port']}",
    ]
    assert not any("/run/terok" in word for word in args)
    if os.geteuid() != 0:
        assert "host.containers.internal" in " ".join(args), "the services' ports must be reachable without the shield"


def test_the_signer_alone(cfg: SandboxConfig) -> None:
    args, plan = compose(cfg, broker=False)
    assert plan == launch.WiringPlan("work", False, False, False, True)
    assert [w.partition("=")[0] for w in args if w.startswith("TEROK_")] == [
        "TEROK_SSH_SIGNER_TOKEN",
        "TEROK_SSH_SIGNER_SOCKET",
    ]
    assert "gate_token" not in sidecar(cfg) and sidecar(cfg)["project_id"] == ""


# improves: 21-2.5-relaunch-revokes
def test_tokens_of_an_earlier_container_end(cfg: SandboxConfig) -> None:
    compose(cfg)
    (first,) = tokens(cfg)
    launch.finish("c1", cfg=cfg)
    compose(cfg)
    (second,) = tokens(cfg)
    assert first["token"] != second["token"]


def test_a_locked_vault_leaves_nothing(cfg: SandboxConfig) -> None:
    with pytest.raises(NoPassphraseError):
        compose(dataclasses.replace(cfg, credentials_passphrase=None))
    assert left(cfg) == [] and tokens(cfg) == []


def test_without_a_scope_there_is_only_a_supervisor(cfg: SandboxConfig, capfd: pytest.CaptureFixture[str]) -> None:
    args, plan = compose(cfg, scope=None, gate=True, shield=True, profiles=("x",))
    assert plan == launch.WiringPlan(None, True, False, False, False)
    assert args[-4:-2] == ["--name", "c1"] and "-v" not in args and "--cap-drop" in args
    assert capfd.readouterr().err.count("--scope") == 2


def test_refusals_leave_nothing(cfg: SandboxConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", ".", "a/b", "../x", "-a"):
        with pytest.raises(SystemExit, match="unsafe container name"):
            compose(cfg, name)
    with pytest.raises(SystemExit, match="sidecar write failed"), monkeypatch.context() as patch:
        patch.setattr(launch, "write_sidecar", lambda *a, **k: None)
        compose(cfg)
    assert left(cfg) == []
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr("terok_sandbox._wiring._write_record", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        compose(cfg)
    assert left(cfg) == []
    monkeypatch.undo()
    with pytest.raises(SystemExit, match="setup"):
        compose(cfg)
    assert left(cfg) == []


def test_scripts_are_renewed_and_links_not_followed(cfg: SandboxConfig, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = Path(cfg.state_dir) / "bridges"
    folder.mkdir(parents=True)
    (folder / "ensure-bridges.sh").symlink_to(victim)
    (folder / "ssh-agent-bridge.sh").write_text("old")
    compose(cfg)
    assert victim.read_text() == "mine" and not (folder / "ensure-bridges.sh").is_symlink()
    assert (folder / "ssh-agent-bridge.sh").read_text() != "old"


def test_cleanup_removes_everything_once(cfg: SandboxConfig) -> None:
    compose(cfg)
    assert left(cfg) != [] and tokens(cfg) != []
    assert launch.cleanup("c1", cfg=cfg) is True
    assert tokens(cfg) == [] and left(cfg) == [] and launch.cleanup("c1", cfg=cfg) is False


def test_a_name_in_use_is_refused_and_its_files_stay(cfg: SandboxConfig, podman: FakePodman) -> None:
    compose(cfg)
    before = left(cfg)
    podman.plays("echo running")
    with pytest.raises(SystemExit, match="c1"):
        compose(cfg)
    assert left(cfg) == before


class TestRun:
    @pytest.fixture
    def called(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        calls: list[Any] = []
        monkeypatch.setattr(os, "execv", lambda program, argv: calls.append((program, argv)))
        return calls

    def test_podman_gets_both_lists(self, cfg: SandboxConfig, podman: FakePodman, called: list[Any]) -> None:
        words = ["-it", "--rm", "img", "prog", "--name", "x"]
        launch.exec_podman(["--name", "c1"], words)
        (program, argv) = called[0]
        assert program == str((podman.folder / "podman").resolve())
        pinned = ["-it", "--rm", "--pull=never", IMAGE_ID, "prog", "--name", "x"]
        assert argv == ["podman", "run", "--name", "c1", *pinned]

    # improves: 22-S6-token-out-of-sight
    def test_tokens_are_no_words(self, cfg: SandboxConfig, called: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("TEROK_GATE_TOKEN", "TEROK_SSH_SIGNER_TOKEN"):
            monkeypatch.setenv(name, "of somebody else")
        wiring.handle_run(container="c1", scope="work", no_shield=True, podman_args=["img"], cfg=cfg)
        (_, argv) = called[0]
        gate, ssh = sidecar(cfg)["gate_token"], tokens(cfg)[0]["token"]
        assert not any(gate in word or ssh in word for word in argv)
        assert argv.count("TEROK_GATE_TOKEN") == argv.count("TEROK_SSH_SIGNER_TOKEN") == 1
        assert (os.environ["TEROK_GATE_TOKEN"], os.environ["TEROK_SSH_SIGNER_TOKEN"]) == (gate, ssh)

    @pytest.mark.parametrize(
        "words",
        [
            [],
            ["--rm"],
            ["--name=x", "img"],
            ["-v", "/h:/run/terok/x", "img"],
            ["--privileged", "img"],
            ["--network", "host", "i"],
        ],
    )
    def test_refused_before_anything_is_made(self, cfg: SandboxConfig, called: list[Any], words: list[str]) -> None:
        with pytest.raises(SystemExit) as refusal:
            wiring.handle_run(container="c1", no_gate=True, scope="work", podman_args=words, cfg=cfg)
        assert not called and left(cfg) == [] and refusal.value.code
        if not words:
            assert refusal.value.code == "No image specified"

    def test_a_missing_podman_leaves_nothing(self, cfg: SandboxConfig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shutil.which", lambda name: None)
        with pytest.raises(SystemExit, match="install"):
            wiring.handle_run(container="c1", no_gate=True, scope="work", podman_args=["img"], cfg=cfg)
        assert left(cfg) == []


class TestVerbs:
    def test_words_behind_the_dashes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: dict[str, Any] = {}
        tree = COMMANDS.overlay({("run",): lambda **given: seen.update(given)})
        monkeypatch.setattr("terok_sandbox.commands.COMMANDS", tree)
        cli.main(["run", "c1", "--scope", "s", "--", "-it", "img", "--", "x"])
        assert (seen["container"], seen["scope"], seen["podman_args"]) == ("c1", "s", ["-it", "img", "--", "x"])

    @pytest.mark.parametrize("argv", [["doctor", "--", "x"], ["prepare"], ["cleanup"]])
    def test_wrong_usage(self, argv: list[str]) -> None:
        with pytest.raises(SystemExit) as end:
            cli.main(argv)
        assert end.value.code == 2

    def test_prepare_and_cleanup(self, cfg: SandboxConfig, capfd: pytest.CaptureFixture[str]) -> None:
        wiring.handle_prepare(container="c1", no_shield=True, no_gate=True, scope="s", json=True, cfg=cfg)
        assert "--annotation" in json.loads(capfd.readouterr().out)
        for words in ("cleaned up", "nothing is known"):
            wiring.handle_cleanup(container="c1", cfg=cfg)
            assert words in capfd.readouterr().out
        with pytest.raises(SystemExit, match="unsafe"):
            wiring.handle_cleanup(container="../x", cfg=cfg)

    def test_format(self) -> None:
        assert launch.format_args(["a b", "c"], output_json=False) == "'a b' c"
        assert launch.format_args(["a b", "c"], output_json=True) == '["a b", "c"]'

    @pytest.mark.parametrize(("severity", "status"), [("ok", 0), ("warn", 1), ("error", 2)])
    def test_doctor_ends_with_the_worst(self, monkeypatch: pytest.MonkeyPatch, severity: str, status: int) -> None:
        verdicts = iter([doctor.CheckVerdict("ok", "x"), doctor.CheckVerdict(severity, "y")])
        monkeypatch.setattr(doctor, "run_check", lambda check: next(verdicts, doctor.CheckVerdict("ok", "z")))
        monkeypatch.setattr("sys.argv", ["terok-sandbox", "doctor"])
        try:
            cli.main()
            ended = 0
        except SystemExit as end:
            ended = end.code
        assert ended == status


class TestDoctor:
    def test_list(self) -> None:
        labels = [check.label for check in doctor.sandbox_doctor_checks()]
        assert labels == ["Credentials DB passphrase", "Plaintext passphrase", "Shield state"]
        full = doctor.sandbox_doctor_checks(token_broker_port=1, ssh_signer_port=2)
        assert [check.category for check in full] == ["vault", "vault", "network", "network", "shield"]
        assert full[2].probe_cmd[-1] == "http://host.containers.internal:1/-/health"
        assert full[3].probe_cmd == ["bash", "-c", "echo | nc -w2 host.containers.internal 2"]

    def test_shield(self) -> None:
        def judge(desired: str | None, found: str) -> str:
            return doctor.sandbox_doctor_checks(desired_shield_state=desired)[-1].evaluate(0, found, "").severity

        assert (judge(None, "x"), judge("up", " up\n"), judge("up", "down")) == ("ok", "ok", "warn")

    def test_passphrase(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from terok_sandbox.vault.store.encryption import WrongPassphraseError

        def severity(answer: Any) -> str:
            def resolve(self: SandboxConfig, **_: Any) -> tuple[str | None, str | None]:
                if isinstance(answer, Exception):
                    raise answer
                return (answer and "secret"), answer

            monkeypatch.setattr(SandboxConfig, "resolve_passphrase_with_source", resolve)
            verdict = doctor.run_check(doctor.sandbox_doctor_checks()[0])
            assert "secret" not in verdict.detail
            return verdict.severity

        assert [severity(a) for a in ("session-file", None, WrongPassphraseError("no"))] == ["ok", "error", "error"]

    def test_settings_of_the_site_are_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        conf = tmp_path / "containers.conf"
        monkeypatch.setenv("CONTAINERS_CONF", str(conf))
        check = doctor.site_settings_check()
        conf.write_text('[containers]\nnetns = "host"\n[engine]\nruntime = "crun"\n')
        verdict = doctor.run_check(check)
        assert verdict.severity == "ok"
        assert verdict.detail == f"used by launches: engine.runtime ({conf}); not used by launches: containers.netns ({conf})"
        conf.write_text("[engine]\nno_pivot_root = true\n")
        verdict = doctor.run_check(check)
        assert (verdict.severity, verdict.detail) == ("warn", f"weakens every container: engine.no_pivot_root ({conf})")
        conf.write_text("[engine")
        assert doctor.run_check(check).severity == "error"

    def test_plaintext(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        path = tmp_path / "config.yml"
        monkeypatch.setenv("TEROK_CONFIG_FILE", str(path))
        check = doctor.sandbox_doctor_checks()[1]
        assert doctor.run_check(check).severity == "ok"
        path.write_text("credentials: {passphrase: x}\n")
        verdict = doctor.run_check(check)
        assert verdict.severity == "warn" and str(path) in verdict.detail

    def test_a_probe_that_hangs_or_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "_PROBE_LIMIT", 0.2)
        judge = lambda code, out, err: doctor.CheckVerdict("ok", f"{code}{out}{err}")  # noqa: E731
        for argv in (["sleep", "30"], ["/nonexistent/x"]):
            assert "unavailable or timed out" in doctor.run_check(doctor.DoctorCheck("c", "l", argv, judge)).detail
        assert doctor.run_check(doctor.DoctorCheck("c", "l", ["sh", "-c", "echo o; exit 3"], judge)).detail == "3o\n"


def test_addresses_of_guests() -> None:
    import terok_sandbox

    assert (terok_sandbox.DEFAULT_SSH_HOST, terok_sandbox.DEFAULT_GUEST_SSHD_PORT) == ("127.0.0.1", 22)
