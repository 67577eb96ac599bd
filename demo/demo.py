"""The main job, end to end: a real agent edits a repository inside a hardened, supervised container.

Twice: a directory of this host, then a repository by URL, which the agent clones and pushes through the git gate.
Without an API key the model is the scripted one of tests/fakes on the loopback; the way to it is the product's own
either way: the program in the container, the loopback bridge, the unix socket, the supervisor's broker, the model. At
the end everything the container could see is searched for the real key.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

import gated  # noqa: E402
from evidence import ProcessWatch, search_for_key  # noqa: E402
from terok_util.tty import clean_text  # noqa: E402

AGENT = "claude"
PROMPT = "The test in test_greet.py fails. Fix greet.py so that it passes, then run the test."
REAL_UPSTREAM = "https://api.anthropic.com"


class Steps:
    """Says what is being done, and how long each step took."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def __call__(self, title: str) -> Iterator[None]:
        print(f"\n==> {title}", flush=True)
        start = time.monotonic()
        yield
        self.taken.append((title, time.monotonic() - start))
        print(f"    {self.taken[-1][1]:.1f} s", flush=True)

    def table(self) -> str:
        width = max(len(title) for title, _ in self.taken)
        rows = [f"  {title:<{width}}  {seconds:7.1f} s" for title, seconds in self.taken]
        total = sum(seconds for _, seconds in self.taken)
        return "\n".join([*rows, f"  {'all':<{width}}  {total:7.1f} s"])


def main() -> int:
    """Run the demo; 0 when the agent did its work and the key was found nowhere."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the container and the sample repository in place")
    keep = parser.parse_args().keep
    steps = Steps()
    key = os.environ.pop("TEROK_DEMO_API_KEY", "")
    scripted = not key
    key = key or f"sk-ant-api03-demo-{secrets.token_hex(24)}"
    work = Path.home() / "demo" / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    _isolate(work)

    with contextlib.ExitStack() as stack:
        upstream, port = REAL_UPSTREAM, 0
        if scripted:
            with steps("scripted model on the loopback (no ANTHROPIC_API_KEY is set)"):
                model = stack.enter_context(contextlib.ExitStack())
                upstream = model.enter_context(scripted_model(work, key, "script.json", 0))
                port = int(upstream.rsplit(":", 1)[1])
        with steps("base image from Debian packages"):
            base = base_image()
        with steps("agent images"):
            image = agent_image(base)
        with steps("hooks and vault"):
            prepare_host(upstream, key)
        repo = sample_repository(work, "sample")
        watch = stack.enter_context(ProcessWatch(key))
        with steps(f"{AGENT} works on {repo}"):
            name, code = run_agent(base, repo)
        with steps("search for the real key"):
            found = search_for_key(name, image, key, [work / "model.log", Path(os.environ["TEROK_ROOT"])], watch)
        if scripted:
            model.close()
            stack.enter_context(scripted_model(work, key, "script-gate.json", port))
        origin, other = sample_repository(work, "origin"), sample_repository(work, "other")
        address = stack.enter_context(gated.git_server(work / "served", origin, other))
        with steps(f"{AGENT} works on {address}/origin.git, through the gate"):
            gated_name, gated_code, faults = run_gated(base, f"{address}/origin.git", f"{address}/other.git", work)
        with steps("search for the real key, second container"):
            places = [work / "model.log", Path(os.environ["TEROK_ROOT"])]
            found += search_for_key(gated_name, image, key, places, watch, whole=False)
        report(repo, (code, gated_code), found, faults, steps)
        if keep:
            print(f"\nkept: containers {name} and {gated_name}, repositories below {work}")
        else:
            for container in (name, gated_name):
                subprocess.run([executable("terok-executor"), "stop", container], check=True)
    return code or gated_code or int(bool(found or faults))


def _isolate(work: Path) -> None:
    """State, vault and configuration of the demo lie in its cache, apart from the user's own."""
    cache = Path.home() / "demo"
    os.environ["TEROK_ROOT"] = str(cache / "state")
    # The supervisor hook is found through the user's containers.conf, which an exported override would hide.
    os.environ.pop("CONTAINERS_CONF", None)
    work.chmod(0o700)


def executable(name: str) -> str:
    """One of our console scripts, beside the interpreter that runs this."""
    return str(Path(sys.executable).parent / name)


@contextlib.contextmanager
def scripted_model(work: Path, key: str, script: str, port: int) -> Iterator[str]:
    """Start the scripted model (port 0: any); it answers only requests that carry the real key."""
    key_file = work / "real-key"
    key_file.touch(mode=0o600)
    key_file.write_text(key)
    command = [sys.executable, str(ROOT / "tests/fakes/model_server.py"), "--script", str(HERE / script)]
    command += ["--log", str(work / "model.log"), "--require-key-file", str(key_file)]
    command += ["--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url = json.loads(server.stdout.readline())["url"]
            key_file.unlink()
            print(f"    {url}")
            yield url
        finally:
            server.terminate()


def base_image() -> str:
    """The Debian 13 base image, made from packages the first time."""
    from terok_executor.container.build import make_base_image

    tag = make_base_image()
    print(f"    {tag}")
    return tag


def agent_image(base: str) -> str:
    """The images with the agent on *base*, built the first time."""
    from terok_executor.container.build import ImageBuilder

    images = ImageBuilder(base, "deb").build_base(agents=(AGENT,), tag_as_default=True)
    print(f"    {images.l0}\n    {images.l1}")
    return images.l1


def prepare_host(upstream: str, key: str) -> None:
    """Install the hooks, make the vault, store the key; the way users do it, with the verbs."""
    config = Path(os.environ["HOME"]) / ".config/terok"
    override = config / f"agent/agents/{AGENT}.yaml"
    override.parent.mkdir(parents=True, exist_ok=True)
    override.write_text(f"vault:\n  upstream: {upstream}\n")
    run = executable("terok-executor")
    subprocess.run([run, "setup", "--no-images", "--passphrase-tier", "config"], check=True, stdin=subprocess.DEVNULL)
    subprocess.run([run, "auth", AGENT, "--api-key", "-"], input=key, text=True, check=True)


def sample_repository(work: Path, name: str) -> Path:
    """A fresh git repository with one failing test."""
    repo = work / name
    shutil.copytree(HERE / "sample", repo, ignore=shutil.ignore_patterns("__pycache__"))
    commit = ["commit", "-q", "-m", "A greeting with a failing test"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], commit):
        identity = ["-c", "user.name=Demo", "-c", "user.email=demo@localhost"]
        subprocess.run(["git", "-C", str(repo), *identity, *command], check=True)
    return repo


def run_agent(base: str, repo: Path) -> tuple[str, int]:
    """Launch the agent, show its log while it works, return the container and the agent's exit code."""
    from terok_executor import AgentRunner
    from terok_executor.container.transcript import show

    runner = AgentRunner(base_image=base, family="deb")
    name = runner.run_headless(AGENT, str(repo), prompt=PROMPT, timeout=600)
    show(name, follow=True, tail=None, raw=False)
    return name, runner.wait_for_exit(name, timeout=30)


def run_gated(base: str, url: str, other: str, work: Path) -> tuple[str, int, list[str]]:
    """Let the agent work on *url* through the gate; container, exit code, and what went wrong.

    While it works, its gate is asked for its own repository, for *other*, and without a token.
    """
    from terok_executor import AgentRunner
    from terok_executor.container import gating
    from terok_executor.container.transcript import show
    from terok_sandbox import SandboxConfig

    cfg, served = SandboxConfig(), work / "served" / "origin.git"
    gating.sync(cfg, other)
    before = gated.refs(served)
    runner = AgentRunner(base_image=base, family="deb")
    name = runner.run_headless(AGENT, url, prompt=gated.PROMPT, timeout=600)
    gate = gated.Gate(cfg.state_dir / "sidecar" / f"{name}.json", Path(cfg.runtime_dir))
    statuses = {
        "own": gate.status(gate.own),
        "other": gate.status(gating.mirror_path(cfg, other).stem),
        "none": gate.status(gate.own, token=False),
    }
    show(name, follow=True, tail=None, raw=False)
    code = runner.wait_for_exit(name, timeout=30)
    print()
    return name, code, gated.verdict(gating.mirror_path(cfg, url), served, before, statuses)


def report(repo: Path, codes: tuple[int, int], found: list[str], faults: list[str], steps: Steps) -> None:
    """The diff, the exit codes, the search, the times, and how to do the same elsewhere."""
    print("\n==> what the agent changed in the directory")
    print(clean_text(gated.git(repo, "diff", "--no-ext-diff", "--no-textconv")))
    print(f"\nexit codes of the agent: {codes[0]} (directory), {codes[1]} (gate)")
    print("the gate did its work" if not faults else "THE GATE FAILED:\n  " + "\n  ".join(faults))
    if found:
        print("THE REAL KEY WAS FOUND:\n  " + "\n  ".join(found))
    else:
        print("the real key was found nowhere (containers, image, processes, logs)")
    print(f"\ntime taken\n{steps.table()}")
    print(
        "\nthe same on your own repository, as a directory or as a URL:\n"
        "  .venv/bin/terok-executor setup\n"
        "  .venv/bin/terok-executor auth claude --api-key -\n"
        '  .venv/bin/terok-executor run claude /path/to/repo -p "what to do"\n'
        '  .venv/bin/terok-executor run claude https://host/your/repo.git -p "what to do; push it as a branch"'
    )


if __name__ == "__main__":
    raise SystemExit(main())
