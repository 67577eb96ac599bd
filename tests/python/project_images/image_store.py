"""A store of images and containers in memory, with the interface of a runtime. It builds as well."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from types import SimpleNamespace


@dataclass
class StoredImage:
    """An image; `names` are `repository:tag` as podman lists them."""

    id: str
    names: list[str]
    labels: dict[str, str] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    size: str = "1 MB"
    in_use: bool = False


class Handle:
    """What a runtime hands out for a reference, whether it exists or not."""

    def __init__(self, store: ImageStore, ref: str, name: str = "<none>:<none>") -> None:
        self.store, self.ref = store, ref
        self.repository, _, self.tag = name.rpartition(":")
        stored = self.stored
        self.size, self.created = (stored.size if stored else ""), "2 days ago"

    @property
    def stored(self) -> StoredImage | None:
        return self.store.find(self.ref)

    @property
    def id(self) -> str | None:
        self.store.asked.append(self.ref)
        return self.stored.id if self.stored else None

    def exists(self) -> bool:
        return self.stored is not None

    def labels(self) -> dict[str, str]:
        return dict(self.stored.labels) if self.stored else {}

    def history(self) -> list[str]:
        return self.stored.history if self.stored else []

    def remove(self) -> bool:
        stored = self.stored
        if stored is None or stored.in_use:
            return False
        stored.names = [name for name in stored.names if name not in (self.ref, f"localhost/{self.ref}")]
        if not stored.names:
            del self.store.held[stored.id]
        return True


class ImageStore:
    """The store; a container is (running, identifier of its image)."""

    def __init__(self) -> None:
        self.held: dict[str, StoredImage] = {}
        self.containers: dict[str, tuple[bool, str]] = {}
        self.written: dict[str, int] = {}
        self.asked: list[str] = []

    def add(self, *names: str, key: str = "", **fields: object) -> str:
        """Put an image in; a name moves from the image that had it."""
        image_id = sha256("|".join([*names, key]).encode()).hexdigest()
        names = tuple(f"localhost/{name}" for name in names)
        for image in self.held.values():
            image.names = [name for name in image.names if name not in names]
        self.held[image_id] = StoredImage(image_id, list(names), **fields)  # type: ignore[arg-type]
        return image_id

    def find(self, ref: str) -> StoredImage | None:
        for image in self.held.values():
            if ref.removeprefix("sha256:") == image.id or {ref, f"localhost/{ref}"} & set(image.names):
                return image
        return None

    def image(self, ref: str) -> Handle:
        return Handle(self, ref)

    def images(self, *, dangling_only: bool = False) -> list[Handle]:
        listed = []
        for image in self.held.values():
            names = ["<none>:<none>"] if not image.names else [] if dangling_only else image.names
            listed += [Handle(self, f"sha256:{image.id}", name) for name in names]
        return listed

    def container(self, name: str) -> SimpleNamespace:
        running, image = self.containers.get(name, (False, ""))
        return SimpleNamespace(running=running, image=Handle(self, image) if image else None)

    def container_rw_sizes(self, prefix: str) -> dict[str, int]:
        return {name: size for name, size in self.written.items() if name.startswith(f"{prefix}-")}
