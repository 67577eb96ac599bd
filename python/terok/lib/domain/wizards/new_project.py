"""The new-project wizard: its questions, how answers are checked, and the conversation on a terminal.

Front ends with screens of their own ask :data:`QUESTIONS` themselves and use :func:`validate_answer`,
:func:`render_project_yaml` and :func:`write_project_yaml`. Answers never become anything but values of the file.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from terok_native import _lib
from terok_native.kept import kept
from terok_util.shell import command_line

__all__ = [
    "AGENTS_QUESTION", "BASES", "BASE_IMAGES", "QUESTIONS", "SECURITY_CLASSES", "Choice", "Question",
    "collect_wizard_inputs", "generate_config", "offer_edit_then_init", "prompt_agent_override",
    "render_project_yaml", "run_wizard", "validate_answer", "write_project_yaml",
]  # fmt: skip

QuestionKind = Literal["choice", "text", "editor", "multichoice"]


@kept
@dataclass(frozen=True, slots=True)
class Choice:
    """One option: what is stored, what is shown, and why it cannot be taken (empty when it can).

    Unpacks as ``slug, label``.
    """

    slug: str
    label: str
    disabled_reason: str = ""

    def __iter__(self) -> Iterator[str]:
        return iter((self.slug, self.label))


@kept
@dataclass(frozen=True)
class Question:
    """One question of the wizard.

    Attributes:
        key: The answer's key for :func:`render_project_yaml`.
        choices_loader: Yields the options as they are now; else ``choices`` are the options.
        transform: Applied to the stripped answer.
        validate: Returns what is wrong with an answer, or ``None``.
    """

    key: str
    kind: QuestionKind
    prompt: str
    help: str = ""
    choices: tuple[Choice, ...] = ()
    choices_loader: Callable[[], tuple[Choice, ...]] | None = None
    required: bool = False
    transform: Callable[[str], str] | None = None
    validate: Callable[[str], str | None] | None = None
    placeholder: str = ""
    default_visible: bool = False

    def resolve_choices(self) -> tuple[Choice, ...]:
        """Return the options as they are now, those that cannot be taken with their reason."""
        return self.choices_loader() if self.choices_loader else self.choices


SECURITY_CLASSES = (
    Choice("online", "Online (agent pushes directly to upstream)"),
    Choice("gatekeeping", "Gatekeeping (changes staged for human review)"),
)
BASES = (
    Choice("fedora", "Fedora 44"),
    Choice("nvidia", "NVIDIA CUDA (GPU)"),
    Choice("podman", "Podman (Fedora-based)"),
    Choice("ubuntu", "Ubuntu 24.04"),
)
BASE_IMAGES = {
    "fedora": "fedora:44",
    "nvidia": "nvcr.io/nvidia/nvhpc:25.9-devel-cuda13.0-ubuntu24.04",
    "podman": "quay.io/podman/stable:latest",
    "ubuntu": "ubuntu:24.04",
}
_CREDENTIAL_SCOPES = (
    Choice("shared", "Those of all projects (recommended)"),
    Choice("project", "Its own, apart from all others"),
)
_NO_GPU = (
    "no NVIDIA device is described to containers: install NVIDIA's container toolkit and let it write a CDI file, "
    "see https://podman-desktop.io/docs/podman/gpu"
)
_SNIPPET_PREAMBLE = (
    "# Lines for the end of this project's Dockerfile: packages, variables, set-up.\n"
    "# These two lines are taken away again; leave the rest empty for no lines at all.\n"
)


def _bases() -> tuple[Choice, ...]:
    from terok.lib.integrations import sandbox

    if sandbox.check_gpu_available():
        return BASES
    return tuple(Choice(c.slug, c.label, _NO_GPU) if c.slug == "nvidia" else c for c in BASES)


def _agents() -> tuple[Choice, ...]:
    from terok.lib.integrations import executor

    return tuple(Choice(name, label or name) for name, label, _ in executor.AgentRoster.shared().listing())


def _slugify(text: str) -> str:
    text = re.sub(r"\s+", "-", text.casefold())
    return re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9_-]", "", text)).strip("-_")


def _id_objection(project_id: str) -> str | None:
    from terok.lib.core.project_model import validate_project_id

    try:
        validate_project_id(project_id)
    except SystemExit as refused:
        return str(refused).partition("\nhint:")[0]
    return None


def _agents_objection(selection: str) -> str | None:
    from terok.lib.integrations import executor

    roster = executor.AgentRoster.shared()
    try:
        roster.resolve_selection(roster.parse_selection(selection))
    except ValueError as refused:
        return str(refused)
    return None


QUESTIONS = (
    Question("security_class", "choice", "Select security mode", choices=SECURITY_CLASSES, required=True),
    Question("base", "choice", "Select base image", choices=BASES, choices_loader=_bases, required=True),
    Question(
        "project_id",
        "text",
        "Project ID",
        required=True,
        transform=_slugify,
        validate=_id_objection,
        placeholder="a-z, 0-9, - and _, for example web-app",
    ),
    Question(
        "upstream_url",
        "text",
        "Upstream git URL",
        help="Where the code is fetched from. Nothing means that the project lives on this machine only.",
        placeholder="git@github.com:org/repo.git or https://…",
        default_visible=True,
    ),
    Question(
        "default_branch",
        "text",
        "Default branch",
        help="Where new work starts. Nothing means the upstream's own choice, and main without an upstream.",
        placeholder="main",
        default_visible=True,
    ),
    Question(
        "user_snippet",
        "editor",
        "Custom image snippet",
        help="Lines of a Dockerfile for this project's image: packages, variables, set-up. Nothing is fine, too.",
        default_visible=True,
    ),
    Question(
        "credentials_scope",
        "choice",
        "Authentication credentials for this project",
        help="With credentials of its own a project needs `terok auth --project <id>` for each agent, and no other "
        "project can use them.",
        choices=_CREDENTIAL_SCOPES,
        required=True,
    ),
)
AGENTS_QUESTION = Question(
    "agents",
    "multichoice",
    "Select agents to install",
    help="Which agents this project's image has, instead of those chosen for all projects. `all` takes in agents that "
    "a later version brings; a list stays as it is.",
    choices_loader=_agents,
    required=True,
    validate=_agents_objection,
)


def validate_answer(question: Question, raw: str) -> tuple[str, str | None]:
    """Return the answer as it is stored, and what is wrong with it or ``None``."""
    value = raw.strip()
    try:
        value.encode()
    except UnicodeEncodeError:
        # What the terminal sent is no text in its own encoding.
        return value, f"{question.prompt}: the answer holds characters that are no text"
    if question.transform:
        value = question.transform(value)
    if not value:
        return value, f"{question.prompt} is required." if question.required else None
    if question.kind == "choice":
        options = {choice.slug: choice.disabled_reason for choice in question.resolve_choices()}
        if value not in options:
            return value, f"{question.prompt}: must be one of {', '.join(sorted(options))}"
        if options[value]:
            return value, options[value]
    return value, question.validate(value) if question.validate else None


def render_project_yaml(values: dict) -> str:
    """Return the text of a ``project.yml``, comments included.

    *values* has the key of every question (``credentials_scope`` may be missing) and, if wanted, ``agents``. Raises
    ``KeyError`` for a missing answer, ``ValueError`` for one that no YAML can hold.
    """
    return _lib.project_render(values)


def write_project_yaml(project_id: str, rendered: str, *, overwrite: bool = False) -> Path:
    """Write the file of a project of the user and return its path; an existing file stays unless *overwrite*.

    Raises ``SystemExit`` for an unusable id or directory.
    """
    return _lib.project_write(project_id, rendered, overwrite)


# -- the conversation on a terminal ----------------------------------------------------------------------------------


def run_wizard(init_fn: Callable[[str], None] | None = None) -> Path | None:
    """Ask everything, write the file, offer to edit it and to set the project up; the path, or ``None`` if given up.

    *init_fn* is called with the project's id to set it up.
    """
    print("New project\n")
    try:
        values = collect_wizard_inputs()
    except (EOFError, KeyboardInterrupt):
        print("\nCancelled; nothing was written.")
        return None
    if values is None:
        return None
    path = generate_config(values)
    print(f"\nThe project's configuration: {path}")
    _hint_at_agents(values)
    offer_edit_then_init(path, values["project_id"], init_fn)
    return path


def collect_wizard_inputs() -> dict[str, str] | None:
    """Ask every question; the answers by key, or ``None`` after a choice that does not exist.

    ``EOFError`` and ``KeyboardInterrupt`` go through.
    """
    values: dict[str, str] = {}
    for question in QUESTIONS:
        answer = _ask(question)
        if answer is None:
            return None
        values[question.key] = answer
    if agents := prompt_agent_override():
        values["agents"] = agents
    return values


def _ask(question: Question) -> str | None:
    match question.kind:
        case "choice":
            return _ask_choice(question)
        case "editor":
            return _ask_snippet(question)
        case _:
            return _ask_text(question)


def _ask_choice(question: Question) -> str | None:
    choices = question.resolve_choices()
    while True:
        print(f"\n{question.prompt}:")
        for number, choice in enumerate(choices, 1):
            note = f"  [unavailable: {choice.disabled_reason}]" if choice.disabled_reason else ""
            print(f"  {number}) {choice.label}{note}")
        raw = input(f"\nChoice [1-{len(choices)}]: ").strip()
        # Only 0 to 9: other digits of Unicode are no numbers here.
        if not (raw.isascii() and raw.isdigit()) or not 1 <= int(raw) <= len(choices):
            print(f"there is no choice {raw!r}", file=sys.stderr)
            return None
        slug, error = validate_answer(question, choices[int(raw) - 1].slug)
        if error is None:
            return slug
        print(error, file=sys.stderr)


def _ask_text(question: Question) -> str:
    while True:
        raw = input(f"{question.prompt}: ")
        value, error = validate_answer(question, raw)
        if error is None:
            if value != raw.strip():
                print(f"  taken as {value}")
            return value
        print(error, file=sys.stderr)


def _ask_snippet(question: Question) -> str:
    if not _agreed(f"\n{question.prompt}: add one?", default=False):
        return ""
    try:
        return _written_snippet()
    except OSError as error:
        print(f"the snippet cannot be edited: {error}; there will be no snippet", file=sys.stderr)
        return ""


def _written_snippet() -> str:
    """Return what somebody wrote in the editor; a file of its own serves for it and is removed."""
    handle, name = tempfile.mkstemp(prefix="terok-snippet-", suffix=".dockerfile")
    path = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(_SNIPPET_PREAMBLE)
        if not _edit(path):
            print("no editor could be opened; there will be no snippet", file=sys.stderr)
            return ""
        return path.read_text(encoding="utf-8", errors="replace").removeprefix(_SNIPPET_PREAMBLE).rstrip()
    finally:
        path.unlink(missing_ok=True)


def _edit(path: Path) -> bool:
    from terok.ui_utils.editor import open_in_editor

    return open_in_editor(path)


def _agreed(question: str, *, default: bool) -> bool:
    answer = input(f"{question} [{'Y/n' if default else 'y/N'}]: ").strip().lower()
    return default if not answer else answer in ("y", "yes")


def prompt_agent_override() -> str:
    """Ask whether this project wants agents of its own, and which; empty when it does not."""
    if not _agreed("\nOther agents than those of all projects?", default=False):
        return ""
    while True:
        print(f"\n{AGENTS_QUESTION.prompt}:")
        for choice in AGENTS_QUESTION.resolve_choices():
            print(f"  {choice.slug:<12} {choice.label}")
        raw = input("\nNames with commas, -name to leave one out [all]: ").strip() or "all"
        value, error = validate_answer(AGENTS_QUESTION, raw)
        if error is None:
            return value
        print(error, file=sys.stderr)


def generate_config(values: dict) -> Path:
    """Write the file for these answers; asks before it replaces one, and returns the path either way."""
    from terok_util.fs import ensure_dir_writable

    from terok.lib.core import config

    rendered = render_project_yaml(values)
    project_id = values["project_id"]
    path = config.user_projects_dir() / project_id / "project.yml"
    ensure_dir_writable(path.parent, "Project")
    if not path.exists():
        return write_project_yaml(project_id, rendered)
    try:
        replace = _agreed(f"{path} exists. Replace it?", default=False)
    except (EOFError, KeyboardInterrupt):
        replace = False
        print()
    if not replace:
        print("The existing file stays as it is.")
    return write_project_yaml(project_id, rendered, overwrite=replace)


def _hint_at_agents(values: dict) -> None:
    from terok.lib.core import config

    if not values.get("agents") and not config.get_global_section("image").get("agents"):
        print("\nNo choice of agents was made, so images get all of them; `terok agents set` makes one.")


def offer_edit_then_init(config_path: Path, project_id: str, init_fn: Callable[[str], None] | None) -> None:
    """Offer to edit the file, then to set the project up; without *init_fn*, or after a no, tell the command for it.

    Whatever *init_fn* raises goes through.
    """
    later = f"Next: {command_line('terok', 'project', 'init', project_id)}"
    try:
        if _agreed("\nEdit the file first?", default=True) and not _edit(config_path):
            print(f"no editor could be opened; the file is {config_path}", file=sys.stderr)
        ready = init_fn is not None and _agreed("Set the project up now?", default=True)
    except (EOFError, KeyboardInterrupt):
        print(f"\nThe file stays. {later}")
        return
    if init_fn is None or not ready:
        print(later)
        return
    init_fn(project_id)
    print(f"\nProject {project_id} is ready.")
