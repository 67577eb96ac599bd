"""Container runtimes: the protocol, the podman back end, and a back end without containers for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# For type checkers only: importing these here would cost every caller.
if TYPE_CHECKING:
    from .null import NullRuntime as NullRuntime
    from .podman import PodmanRuntime as PodmanRuntime
    from .protocol import Container as Container
    from .protocol import ContainerRemoveResult as ContainerRemoveResult
    from .protocol import ContainerRuntime as ContainerRuntime
    from .protocol import ExecResult as ExecResult
    from .protocol import Image as Image
    from .protocol import LogStream as LogStream
    from .protocol import PortReservation as PortReservation

_HOME = {
    "Container": "protocol",
    "ContainerRemoveResult": "protocol",
    "ContainerRuntime": "protocol",
    "ExecResult": "protocol",
    "Image": "protocol",
    "LogStream": "protocol",
    "NullRuntime": "null",
    "PodmanRuntime": "podman",
    "PortReservation": "protocol",
}
__all__ = [*sorted(_HOME), "DEFAULT_GUEST_SSHD_PORT", "DEFAULT_SSH_HOST", "GpuConfigError", "check_gpu_available"]

DEFAULT_SSH_HOST = "127.0.0.1"
"""Where the SSH daemon of a guest is reached: forwarded to this host's loopback, and nowhere else."""
DEFAULT_GUEST_SSHD_PORT = 22
"""The port that this daemon listens on inside the guest."""

_GPU_HINT = (
    "install the NVIDIA container toolkit and write a CDI specification, for example `nvidia-ctk cdi generate "
    "--output=/etc/cdi/nvidia.yaml`: "
    "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/cdi-support.html"
)


class GpuConfigError(RuntimeError):
    """The GPU could not be handed to the container; ``hint`` says what to install."""

    def __init__(self, message: str = "", *, hint: str = _GPU_HINT) -> None:
        super().__init__(message)
        self.hint = hint


def check_gpu_available() -> bool:
    """True when a CDI specification on this host names NVIDIA GPUs; never raises."""
    from terok_native import _lib

    return _lib.podman_gpu_available()


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
