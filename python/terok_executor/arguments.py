"""What the executor's verbs take, as data; :mod:`terok_executor.commands` joins it with the handlers."""

from __future__ import annotations

from terok_util.cli_types import ArgDef

DEFAULT_BASE = "fedora:44"

_AGENTS_HELP = "Selection: names, -names to leave out, or all"
_BASE = ArgDef(name="--base", default=DEFAULT_BASE, help="Base image to build on top of")
_FAMILY = ArgDef(name="--family", help="Package family of the base: deb or rpm")
_TIMEZONE = ArgDef(name="--timezone", help="IANA time zone; default is the host's")
_YES = ArgDef(name="--yes", action="store_true", dest="yes", help="Answer every question with yes")
_NO_PREFLIGHT = ArgDef(
    name="--no-preflight", action="store_true", dest="no_preflight", help="Skip the checks before the run"
)
_GATE = ArgDef(name="--gate", action="store_true", default=True, help="Use gate (default)")
_DANGEROUS = ArgDef(
    name="--allow-dangerous-mount", action="append", default=[],
    help="Mount this directory although it is refused: a home, keys, our own state; may be given again",
)  # fmt: skip
_BRANCH_ONLY = ArgDef(
    name="--branch-only", action="store_true", dest="branch_only",
    help="Bring commits on a directory back as a branch; never move the one that is checked out",
)  # fmt: skip
_CLONE = ArgDef(name="--clone", action="store_true", help="Work on a clone of the directory, through the git gate")
_NAME = ArgDef(name="--name", help="Container name override")
_BRANCH = ArgDef(name="--branch", help="Branch to check out inside")
_REPO = ArgDef(name="repo", nargs="?", default=".", help="Directory or git URL to work on")

_ALLOW_ROOT = ArgDef(
    name="--allow-root", action="store_true", help="As root: launch all the same, on ids of the container's own"
)

RUN = (
    ArgDef(name="agent", help="Agent to run, see agents list"),
    _REPO,
    ArgDef(name="-p", dest="prompt", help="Prompt for a headless run"),
    ArgDef(name="-m", dest="model", help="Model override"),
    ArgDef(name="--max-turns", type=int, help="Maximum agent turns"),
    ArgDef(name="--timeout", type=int, default=1800, help="Seconds the agent may run"),
    ArgDef(name="--interactive", action="store_true", help="Start and wait for a login"),
    ArgDef(name="--web", action="store_true", help="Toad web mode"),
    ArgDef(name="--port", type=int, help="Web port on this host, default any"),
    _GATE,
    ArgDef(name="--no-gate", action="store_true", help="Let the container clone directly"),
    _BRANCH,
    _NAME,
    ArgDef(name="--restricted", action="store_true", help="Ask before each action, no privilege gain"),
    ArgDef(name="--gpu", action="store_true", help="Enable GPU passthrough"),
    ArgDef(name="--memory", help="Memory limit such as 4g"),
    ArgDef(name="--cpus", help="CPU limit such as 2.0"),
    ArgDef(name="--git-identity-from-host", action="store_true", help="Name the host's git user in commits"),
    ArgDef(name="--shared-dir", help="Host directory to mount as well"),
    ArgDef(name="--shared-mount", default="/shared", help="Where the shared directory appears"),
    _DANGEROUS,
    _BRANCH_ONLY,
    _CLONE,
    _BASE,
    _FAMILY,
    _TIMEZONE,
    _YES,
    _NO_PREFLIGHT,
    _ALLOW_ROOT,
)
RUN_TOOL = (
    ArgDef(name="tool", help="Tool name (coderabbit)"),
    _REPO,
    _BRANCH,
    _GATE,
    ArgDef(name="--no-gate", action="store_true", help="Disable gate"),
    _NAME,
    ArgDef(name="--timeout", type=int, default=600, help="Seconds the tool may run"),
    _DANGEROUS,
    _BRANCH_ONLY,
    _CLONE,
    ArgDef(name="tool_args", nargs="*", help="Arguments for the tool, after --"),
    _BASE,
    _FAMILY,
    _TIMEZONE,
    _YES,
    _NO_PREFLIGHT,
    _ALLOW_ROOT,
)
AUTH = (
    ArgDef(name="agent", help="Agent or tool to authenticate"),
    ArgDef(name="--api-key", help="Store this key; - reads it from standard input"),
    ArgDef(name="--base-image", help="Base image of the login container"),
)
AGENTS_LIST = (ArgDef(name="--all", action="store_true", dest="show_all", help="List the tools as well"),)
AGENTS_SET = (ArgDef(name="selection", nargs="?", help=_AGENTS_HELP),)
BUILD = (
    _BASE,
    _FAMILY,
    ArgDef(name="--agents", default="all", help=_AGENTS_HELP),
    ArgDef(name="--rebuild", action="store_true", help="Install the agents anew, keep the rest"),
    ArgDef(name="--full-rebuild", action="store_true", help="Force --no-cache --pull=always"),
    ArgDef(name="--sidecar", action="store_true", help="Build the tool image as well"),
)
SETUP = (
    ArgDef(name="--check", action="store_true", help="Only report what is missing"),
    ArgDef(name="--no-sandbox", action="store_true", dest="no_sandbox", help="Leave hooks and vault alone"),
    ArgDef(name="--no-images", action="store_true", dest="no_images", help="Do not build any image"),
    _BASE,
    _FAMILY,
)
UNINSTALL = (
    ArgDef(name="--no-sandbox", action="store_true", dest="no_sandbox", help="Leave the hooks in place"),
    ArgDef(name="--keep-images", action="store_true", dest="keep_images", help="Leave the images in place"),
    _BASE,
)
STOP = (ArgDef(name="name", help="Container name"),)
ACP = (
    ArgDef(name="container_name", help="Container whose agents are served"),
    ArgDef(name="socket_path", help="Unix socket to listen on here"),
)
LOGS = (
    ArgDef(name="name", help="Container name"),
    ArgDef(name="-f/--follow", action="store_true", help="Go on until the container ends"),
    ArgDef(name="--tail", type=int, help="Only this many lines from the end"),
    ArgDef(name="--raw", action="store_true", dest="as_it_is", help="Print the log as it is"),
)
