"""The facade against a stand-in for podman: exact argument lists, order of events, failures, what is left behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from double import IMAGE_ID, FakePodman
from terok_native import _lib
from terok_sandbox import (
    GpuConfigError,
    LifecycleHooks,
    NullRuntime,
    PodmanRuntime,
    RunSpec,
    Sandbox,
    SandboxConfig,
    VolumeSpec,
)

RANGE = "0:2130706432:65536"
"""The ids of containers of root."""
USERNS = ["--userns=keep-id:uid=1000,gid=1000"] if os.geteuid() else ["--uidmap", RANGE, "--gidmap", RANGE]
OWNED = "" if os.geteuid() else ",U"
NETWORK = ["--network", "private" if os.geteuid() else "bridge"]
CAPS = [*NETWORK, "--cap-drop", "NET_ADMIN", "--cap-drop", "NET_RAW"]


def spec(**changes: Any) -> RunSpec:
    fields: dict[str, Any] = {
        "container_name": "c1",
        "image": "img:1",
        "env": {"A": "1", "API_TOKEN": "s3cret"},
        "volumes": (
            VolumeSpec(Path("/h/a"), "/workspace", "private"),
            VolumeSpec(Path("/h/rt"), "/run/terok", live=True),
        ),
        "command": ("bash", "-lc", "x y"),
        "task_dir": Path("/t"),
    }
    return RunSpec(**(fields | changes))


def traces(cfg: SandboxConfig) -> list[str]:
    """Every file and container directory that is left."""
    found = [str(p.relative_to(cfg.state_dir)) for p in Path(cfg.state_dir).rglob("*") if p.is_file()]
    of_all = (".lock", ".swept", "podman/containers.conf", "podman/seccomp-standard.json")
    return [f for f in found if not f.endswith(of_all)] + [str(p) for p in Path(cfg.runtime_dir).glob("run/*")]


FULL = {
    "gpu_enabled": True,
    "memory": "4g",
    "cpus": "2",
    "extra_args": ("-p", "127.0.0.1:1:2"),
    "unrestricted": False,
    "hostname": "hn",
    "runtime": "krun",
    "annotations": {"krun.cpus": "2", "dossier.meta_path": "/m.json"},
}
BEFORE_VOLUMES = [
    *USERNS, *_lib.sandbox_explicit_args(), "--runtime", "krun", "--annotation", "krun.cpus=2", "--annotation", "dossier.meta_path=/m.json",
    "--security-opt", "no-new-privileges", *CAPS, "--device", "nvidia.com/gpu=all",
    "-e", "NVIDIA_VISIBLE_DEVICES=all", "-e", "NVIDIA_DRIVER_CAPABILITIES=all",
    "--memory", "4g", "--cpus", "2", "-p", "127.0.0.1:1:2",
]  # fmt: skip
AFTER = ["-v", f"/h/rt:/run/terok:z{OWNED}", "-e", "A=1", "-e", "API_TOKEN", "--name", "c1", "--hostname", "hn"]
END = ["-w", "/workspace", "--pull=never", IMAGE_ID, "bash", "-lc", "x y"]


class TestArgv:
    def test_everything(self, podman: FakePodman, cfg: SandboxConfig, capsys: pytest.CaptureFixture[str]) -> None:
        Sandbox(cfg).run(spec(**FULL))
        assert podman.calls == [["run", "-d", *BEFORE_VOLUMES, "-v", f"/h/a:/workspace:Z{OWNED}", *AFTER, *END]]
        assert "API_TOKEN=s3cret" in podman.env
        shown, told = capsys.readouterr()
        assert shown.startswith("$ podman run -d ") and shown.rstrip().endswith("img:1 bash -lc 'x y'")
        assert "s3cret" not in shown + told
        assert told.count("not filtered") == 1 and told.count("\n") == 1
        assert traces(cfg) == []

    def test_create_and_sealed(self, podman: FakePodman, cfg: SandboxConfig) -> None:
        assert Sandbox(cfg).create(spec(**FULL, sealed=True)) == "c1"
        assert podman.calls == [["create", *BEFORE_VOLUMES, *AFTER, *END]]

    def test_bypass_is_loud(self, podman: FakePodman, cfg: SandboxConfig, capsys: pytest.CaptureFixture[str]) -> None:
        import dataclasses

        Sandbox(dataclasses.replace(cfg, shield_bypass=True)).run(spec())
        shown, told = capsys.readouterr()
        assert "shield_bypass" in shown and told == ""

    @pytest.mark.parametrize(
        "changes",
        [
            {"runtime": "/tmp/x"},
            {"runtime": " krun"},
            {"runtime": "evil"},
            {"runtime": 42},
            {"annotations": {"evil.toggle": "1"}},
            {"annotations": {"krun.cpus": 2}},
            {"annotations": {"krun.cpus": "a\nb"}},
            {"annotations": {"dossier.meta_path": "/a,evil=1"}},
            {"container_name": "../x"},
            {"container_name": "a b"},
            {"container_name": "n" * 200},
            {"container_name": ""},
            {"memory": "lots"},
            {"cpus": ".5"},
            {"env": {"A": "a\0b"}},
            {"env": {"A\nB": "x"}},
            {"env": {"A*": "x"}},
            {"extra_args": ("--privileged",)},
            {"extra_args": ("--network", "host")},
            {"image": "--privileged"},
            {"hostname": "-x"},
            {"volumes": (VolumeSpec(Path("/h:x"), "/c"),)},
            {"volumes": (VolumeSpec(Path("/h"), "/c", "public"),)},
            {"volumes": (VolumeSpec(Path("rel"), "/c"),)},
        ],
    )
    def test_what_is_refused_never_reaches_podman(
        self, podman: FakePodman, cfg: SandboxConfig, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(ValueError, match=r"\S"):
            Sandbox(cfg).run(spec(**changes))
        assert podman.calls == [] and traces(cfg) == []


class TestEvents:
    def test_order(self, podman: FakePodman, cfg: SandboxConfig) -> None:
        seen: list[tuple[str, int]] = []
        note = lambda what: lambda: seen.append((what, len(podman.calls)))  # noqa: E731
        hooks = LifecycleHooks(*(note(name) for name in ("pre_start", "post_start", "post_ready", "post_stop")))
        Sandbox(cfg).run(spec(), hooks=hooks)
        assert seen == [("pre_start", 0), ("post_start", 1)]

    def test_no_post_start_after_a_failure(self, podman: FakePodman, cfg: SandboxConfig) -> None:
        podman.plays('case "$1" in run) echo "image not found" >&2; exit 1;; *) echo "no such object" >&2; exit 125;; esac')
        with pytest.raises(SystemExit) as caught:
            Sandbox(cfg).run(spec(), hooks=LifecycleHooks(post_start=lambda: pytest.fail("called")))
        assert str(caught.value.code).startswith("Container launch failed:\nimage not found")
        assert "hint: " in str(caught.value.code) and traces(cfg) == []

    def test_a_failing_pre_start_takes_everything_back(self, podman: FakePodman, cfg: SandboxConfig) -> None:
        with pytest.raises(ZeroDivisionError):
            Sandbox(cfg).run(spec(), hooks=LifecycleHooks(pre_start=lambda: 1 // 0))
        assert podman.calls == [] and traces(cfg) == []

    def test_a_failing_post_start_keeps_the_container(self, podman: FakePodman, cfg: SandboxConfig) -> None:
        with pytest.raises(ZeroDivisionError):
            Sandbox(cfg).run(spec(), hooks=LifecycleHooks(post_start=lambda: 1 // 0))
        assert [call[0] for call in podman.calls] == ["run"] and traces(cfg) == []


class TestFailures:
    def test_gpu(self, podman: FakePodman, cfg: SandboxConfig) -> None:
        podman.plays('case "$1" in run) echo "unresolvable CDI devices" >&2; exit 125;; *) echo "no such" >&2; exit 125;; esac')
        with pytest.raises(GpuConfigError, match="unresolvable CDI devices") as caught:
            Sandbox(cfg).run(spec(gpu_enabled=True))
        assert "CDI" in caught.value.hint and caught.value.hint in str(caught.value)

    def test_podman_missing(self, cfg: SandboxConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(SystemExit, match=r"not found(.|\n)*install podman"):
            Sandbox(cfg).run(spec())
        assert traces(cfg) == []

    # holds: administrators-settings-count
    def test_administrators_file_that_cannot_be_used_stops_the_launch(
        self, podman: FakePodman, cfg: SandboxConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("TEROK_CONFIG_FILE", raising=False)
        file = tmp_path / "python/etc/terok/config.yml"
        file.parent.mkdir(parents=True)
        file.write_text("run: {memory: 1g\n")
        _lib.project_settings_prefix(tmp_path / "python")
        try:
            with pytest.raises(SystemExit, match=r"cannot launch .*administrator's settings: .*etc/terok/config\.yml"):
                Sandbox(cfg).run(spec())
            assert podman.calls == [] and traces(cfg) == []
            file.write_text("run: {memory: 1g}\n")
            Sandbox(cfg).run(spec())
        finally:
            _lib.project_settings_prefix(Path(sys.prefix))

    def test_the_container_of_a_failed_run_is_removed(self, podman: FakePodman, cfg: SandboxConfig) -> None:
        podman.plays(
            """case "$1 $2" in "run -d") echo boom >&2; exit 127;;
            "container inspect") echo '[{"Id":"abc","Created":"2999-01-01T00:00:00Z","State":{"Status":"created"}}]';; esac"""
        )
        with pytest.raises(SystemExit):
            Sandbox(cfg).run(spec())
        assert podman.calls[-1] == ["rm", "-f", "abc"]

    def test_a_container_of_somebody_else_is_not(self, podman: FakePodman, cfg: SandboxConfig) -> None:
        podman.plays(
            """case "$1 $2" in "run -d") echo boom >&2; exit 127;;
            "container inspect") echo '[{"Id":"abc","Created":"2020-01-01T00:00:00Z","State":{"Status":"running"}}]';; esac"""
        )
        with pytest.raises(SystemExit):
            Sandbox(cfg).run(spec())
        podman.plays(
            """case "$1 $2" in "run -d") echo 'the container name "c1" is already in use by abc' >&2; exit 125;;
            "container inspect") echo '[{"Id":"abc","Created":"2999-01-01T00:00:00Z","State":{"Status":"running"}}]';; esac"""
        )
        with pytest.raises(SystemExit, match="podman rm -f c1"):
            Sandbox(cfg).run(spec())
        assert not any(call[0] == "rm" for call in podman.calls)

    def test_without_the_hook_podman_is_not_called(self, podman: FakePodman, cfg: SandboxConfig) -> None:
        sidecar = Path(cfg.state_dir) / "sidecar" / "c1.json"
        with pytest.raises(SystemExit, match=r"supervisor of `c1`(.|\n)*setup"):
            Sandbox(cfg).run(spec(annotations={"terok.sandbox.sidecar": str(sidecar)}))
        assert podman.calls == [] and traces(cfg) == []


class TestHandling:
    def test_pieces_are_passed_to_the_runtime(self, cfg: SandboxConfig, tmp_path: Path) -> None:
        runtime = NullRuntime()
        box = Sandbox(cfg, runtime=runtime)
        started: list[int] = []
        assert box.config is cfg and box.runtime is runtime
        box.start("c1", hooks=LifecycleHooks(post_start=lambda: started.append(1)))
        box.copy_to("c1", tmp_path, "/d")
        runtime.set_exit_code("c1", 124)
        assert (runtime.container("c1").state, started, box.wait_for_exit("c1")) == ("running", [1], 124)
        assert box.stream_logs("c1", timeout=1) is True
        assert runtime._copy_in_calls == [("c1", tmp_path, "/d")]
        assert [r.removed for r in box.stop(["c1", "c2"])] == [True, True]
        assert isinstance(Sandbox(cfg).runtime, PodmanRuntime)

    def test_default_readiness(self, podman: FakePodman, cfg: SandboxConfig) -> None:
        podman.plays("echo '>> init complete'; exec sleep 30")
        assert Sandbox(cfg).stream_logs("c1", timeout=10)

    def test_gate_addresses(self, cfg: SandboxConfig) -> None:
        box = Sandbox(cfg)
        token = box.mint_gate_token()
        assert token.startswith("terok-g-") and len(token) == 40 and token != box.mint_gate_token()
        assert box.gate_url(Path(cfg.gate_base_path) / "p.git", "t") == "http://t@localhost:9418/p.git"
        for outside in (tmp := Path("/elsewhere"), Path(cfg.gate_base_path) / "../x"):
            with pytest.raises(ValueError, match="gate"):
                box.gate_url(outside, "t")
        assert tmp.name == "elsewhere"

    def test_state_directory(self, cfg: SandboxConfig) -> None:
        assert Sandbox(cfg).task_state_dir("c1") == Path(cfg.state_dir) / "sandbox" / "runs" / "c1"
        with pytest.raises(ValueError, match="unsafe container name"):
            Sandbox(cfg).task_state_dir("../x")
