"""The values that describe a launch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from terok_sandbox import LifecycleHooks, RunSpec, Sharing, VolumeSpec
from terok_sandbox.doctor import CheckVerdict, DoctorCheck
from terok_sandbox.runtime import GpuConfigError
from terok_sandbox.sandbox import SAFE_ANNOTATION_KEYS, SAFE_RUNTIMES, redact_env_args

FIXTURES = Path(__file__).parents[2] / "fixtures" / "sandbox"


def spec(**changes: object) -> RunSpec:
    base = RunSpec(container_name="c1", image="i", env={}, volumes=(), command=(), task_dir=Path("/t"))
    return dataclasses.replace(base, **changes)


def test_mount_arguments() -> None:
    assert VolumeSpec(Path("/h"), "/c", "private", True).to_mount_arg() == "/h:/c:Z,ro"
    assert VolumeSpec(Path("/host/data"), "/container/data").to_mount_arg() == "/host/data:/container/data:z"
    assert VolumeSpec(Path("/h"), "/c", Sharing.PRIVATE).to_mount_arg() == "/h:/c:Z"
    with pytest.raises(ValueError, match="public"):
        VolumeSpec(Path("/h"), "/c", "public").to_mount_arg()
    for host, inside in (("/h:x", "/c"), ("/h", "/c,ro")):
        with pytest.raises(ValueError, match="podman"):
            VolumeSpec(Path(host), inside).to_mount_arg()


def test_annotations_are_copied_and_frozen() -> None:
    mine = {"krun.cpus": "2"}
    launched = spec(annotations=mine)
    mine["krun.cpus"] = "4"
    assert launched.annotations["krun.cpus"] == "2"
    with pytest.raises(TypeError):
        launched.annotations["x"] = "y"  # type: ignore[index]
    with pytest.raises(TypeError):
        spec(annotations=None)
    assert spec(annotations={"a": "b"}) == spec(annotations={"a": "b"})


def test_values_are_frozen() -> None:
    for value, name in ((spec(), "image"), (VolumeSpec(Path("/h"), "/c"), "live"), (LifecycleHooks(), "pre_start")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, None)
    with pytest.raises(TypeError):
        hash(spec())


def test_allow_lists() -> None:
    assert {"crun", "krun"} == SAFE_RUNTIMES
    assert {"dossier.meta_path", "krun.cpus", "terok.sandbox.sidecar"} == SAFE_ANNOTATION_KEYS


def test_redaction_table() -> None:
    for given, expected in json.loads((FIXTURES / "redaction.json").read_text()):
        assert redact_env_args(given) == expected


def test_checks_and_errors_are_values() -> None:
    check = DoctorCheck("vault", "L", ["true"], lambda code, out, err: CheckVerdict("ok", out))
    assert check.evaluate(0, "fine", "").detail == "fine" and not check.host_side and check.fix_cmd is None
    fault = GpuConfigError("no CDI")
    assert isinstance(fault, RuntimeError) and "nvidia" in fault.hint and str(fault) == "no CDI"
