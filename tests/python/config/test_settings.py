"""Settings: getters, layers, what happens to broken ones, and edits while the process runs."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from terok.lib.core import config
from terok_util import paths

FIXTURES = Path(__file__).parents[2] / "fixtures" / "config"
GETTERS = json.loads((FIXTURES / "getter_cases.json").read_text())


@pytest.mark.parametrize("case", GETTERS, ids=lambda case: f"{case['getter']}: {case['text'] or 'nothing'}")
def test_getters(case, configure, monkeypatch):
    configure(case["text"])
    for name, value in case.get("env", {}).items():
        monkeypatch.setenv(name, value)
    found = getattr(config, case["getter"])()
    assert (list(found) if isinstance(found, tuple) else found) == case["value"]


def test_the_experimental_switch_adds_to_the_file(configure):
    config.set_experimental(True)
    assert config.is_experimental()
    config.set_experimental(False)
    assert not config.is_experimental()
    configure("experimental: true\n")
    assert config.is_experimental(), "an option cannot take away what the file turns on"


def test_logins_that_reach_containers(configure):
    configure("experimental: true\nagent: {codex: {expose_oauth_token: true}, claude: {allow_oauth: true}}\n")
    assert config.exposed_credential_providers() == frozenset({"codex"})
    assert [config.is_oauth_enabled_for(name) for name in ("claude", "codex", "vibe")] == [True, True, True]
    configure("agent: {claude: {allow_oauth: true}}\n")
    assert [config.is_oauth_enabled_for(name) for name in ("claude", "codex", "vibe")] == [False, False, True]


def test_higher_layers_win_and_null_removes(configure, prefix):
    prefix("shield: {audit: true, drop_on_task_run: false}\ngit: {human_name: low}\n")
    configure("shield: {audit: false}\n")
    assert (config.get_shield_audit(), config.get_shield_drop_on_task_run()) == (False, False)
    assert config.load_global_config()["shield"] == {"audit": False, "drop_on_task_run": False}
    configure("shield: null\n")
    assert (config.get_shield_audit(), config.get_shield_drop_on_task_run()) == (True, True)
    assert config.get_global_section("shield") == {} and config.get_global_human_name() == "low"


def test_layers_are_listed(home, prefix, monkeypatch):
    user = home / ".config/terok/config.yml"
    system, low = Path("/etc/terok/config.yml"), home / "python/etc/terok/config.yml"
    assert config.global_config_search_paths() == [system, low, user] and config.global_config_path() == user
    monkeypatch.setenv("TEROK_CONFIG_FILE", "")
    assert config.global_config_search_paths() == [system, low, user]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    assert config.global_config_path() == home / "xdg/terok/config.yml"
    monkeypatch.setenv("TEROK_CONFIG_FILE", "~/mine.yml")
    assert config.global_config_search_paths() == [home / "mine.yml"] == [config.global_config_path()]


def test_root_has_a_file_of_its_own_as_well(home, configure, monkeypatch):
    configure("tui: {default_tmux: true}\n")
    monkeypatch.setattr(paths, "_is_root", lambda: True)
    assert config.global_config_path() == home / ".config/terok/config.yml"
    assert config.global_config_path() in config.global_config_search_paths()
    owner = config.global_config_path().stat().st_uid
    assert config.get_tui_default_tmux() is (owner == 0), "a file that root does not own says nothing to root"


# improves: 30-3.1-valid-kept
def test_one_wrong_key_resets_nothing_else(configure, capfd):
    path = configure(
        "shield: {drop_on_task_run: false, on_task_restart: up}\ntuii: {}\ntui: {default_tmux: 7, external_editor: false}\n"
        "vault: {port: 0}\nlogs: [x]\n"
    )
    assert (config.get_shield_drop_on_task_run(), config.get_shield_on_task_restart()) == (False, "up")
    assert (config.get_tui_default_tmux(), config.get_tui_external_editor()) == (False, True)
    said = capfd.readouterr().err
    assert said.startswith("Warning [config]: ") and said.count("\n") == 1 and str(path) in said
    assert "vault.port: Input should be greater than or equal to 1" in said and "and 1 more" in said
    config.get_vault_bypass()
    assert capfd.readouterr().err == "", "once is enough"
    with pytest.raises(SystemExit, match="tuii: Extra inputs are not permitted") as refusal:
        config.require_valid_config()
    assert str(path) in str(refusal.value)
    assert len(config.config_problems()) == 4
    configure("shield: {drop_on_task_run: false}\n")
    assert config.config_problems() == []
    config.require_valid_config()


BROKEN = {
    "yaml": "a: [\n",
    "tab": "shield:\n\taudit: false\n",
    "duplicate": "shield: {audit: false}\nshield: {audit: true}\n",
    "list": "- 1\n",
    "text": "just text\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "not utf-8": b"tui: {default_tmux: \xff}\n",
    "endless": "a: " + "[" * 10_000,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_layer_leaves_the_others(text, configure, prefix, capfd):
    prefix("shield: {drop_on_task_run: false}\n")
    path = configure("")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert config.get_shield_drop_on_task_run() is False
    said = capfd.readouterr().err
    assert said.startswith("Warning [config]: ") and str(path) in said and said.count("\n") == 1
    with pytest.raises(SystemExit, match=r"config\.yml"):
        config.require_valid_config()
    path.write_text("")
    assert config.config_problems() == [], "an empty file is in order"


def test_unreadable_layers(configure, prefix, capfd):
    prefix("tui: {default_tmux: true}\n")
    path = configure("x: 1\n")
    path.unlink()
    path.mkdir()
    assert config.get_tui_default_tmux() is True and str(path) in capfd.readouterr().err
    path.rmdir()
    path.symlink_to(path)
    assert config.get_tui_default_tmux() is True and config.config_problems() != []
    path.unlink()
    assert config.config_problems() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_layer_without_permission(configure, prefix):
    prefix("tui: {default_tmux: true}\n")
    path = configure("tui: {default_tmux: false}\n")
    path.chmod(0)
    assert config.get_tui_default_tmux() is True and str(path) in config.config_problems()[0]
    path.chmod(0o600)
    path.parent.chmod(0)
    assert config.get_tui_default_tmux() is True and config.config_problems() != []
    path.parent.chmod(0o700)
    assert config.get_tui_default_tmux() is False


def test_texts_that_older_rules_took_for_something_else(configure):
    configure("git: {human_name: no, human_email: 'off'}\nagent: {a: 0o17, b: 017, c: 2020-01-01, d: yes}\n")
    assert (config.get_global_human_name(), config.get_global_human_email()) == ("no", "off")
    assert config.get_global_agent_config() == {"a": 15, "b": 17, "c": "2020-01-01", "d": "yes"}


# improves: 30-3.2-edits-seen
def test_a_running_process_sees_edits(configure):
    path = configure("tui: {default_tmux: false}\nagent: {a: 1}\n")
    for text, tmux in [("tui: {default_tmux: true}\n", True), ("", False), ("tui: {default_tmux: true}\n", True)]:
        path.write_text(text)
        assert config.get_tui_default_tmux() is tmux
        assert config.load_global_config() == ({"tui": {"default_tmux": True}} if tmux else {})
    from terok.lib.integrations.executor import ExecutorConfigView

    ExecutorConfigView.set_image_agents("vibe")
    assert config.get_global_image_agents() == "vibe"
    path.unlink()
    assert config.get_tui_default_tmux() is False


# improves: 30-3.4-one-reader
def test_every_reader_of_a_process_agrees(configure, prefix):
    import terok_util
    from terok_sandbox import SandboxConfig

    prefix("services: {mode: tcp}\nshield: {audit: false}\nexperimental: true\npaths: {root: ~/elsewhere}\n")
    configure("credentials: {use_keyring: true}\n")
    ours, lower = config.make_sandbox_config(), SandboxConfig()
    assert lower.services_mode == ours.services_mode == config.get_services_mode() == "tcp"
    assert lower.shield_audit is ours.shield_audit is config.get_shield_audit() is False
    assert lower.experimental is ours.experimental is config.is_experimental() is True
    assert lower.credentials_use_keyring is ours.credentials_use_keyring is True
    assert terok_util.read_config_section("services") == {"mode": "tcp"}
    assert config.archive_dir() == Path.home() / "elsewhere/archive"


def test_the_sandbox_gets_our_settings(configure, home):
    configure(
        "credentials: {dir: ~/safe}\ngate_server: {port: 18801}\nvault: {port: 18802, ssh_signer_port: 18803}\n"
        "shield: {bypass_firewall_no_protection: true, audit: false}\n"
    )
    made = config.make_sandbox_config()
    assert (made.vault_dir, made.gate_port) == (home / "safe", 18801)
    assert (made.token_broker_port, made.ssh_signer_port) == (18802, 18803)
    assert (made.shield_bypass, made.shield_audit, made.services_mode) == (True, False, "socket")
    assert sorted(path.name for path in home.iterdir()) == [".config"], "nothing was created"


def test_caches_can_be_replaced(configure, monkeypatch, capfd):
    from terok.lib.core.yaml_schema import RawGlobalConfig

    configure("tui: {default_tmux: x}\n")
    assert config.get_tui_default_tmux() is False and "default_tmux" in capfd.readouterr().err
    assert config._validated_config_cache is not None and config._validated_config_cache.services.mode == "socket"
    config._validated_config_cache = None
    assert config.get_tui_default_tmux() is False and "default_tmux" in capfd.readouterr().err, "read and told anew"
    mine = RawGlobalConfig.model_validate({"tui": {"default_tmux": True}, "agent": {"codex": {"allow_oauth": True}}})
    monkeypatch.setattr(config, "_validated_config_cache", mine)
    monkeypatch.setattr(config, "_raw_config_cache", {"agent": {"x": 1}})
    assert config.get_tui_default_tmux() is True and config.get_codex_allow_oauth() is True
    assert config.get_global_agent_config() == {"x": 1}
    config.require_valid_config()


def test_secrets_are_not_told(configure, capfd):
    configure("credentials: {passphrase: [hunter2], use_keyring: hunter2}\nvault: {hunter: 1}\n")
    config.get_vault_bypass()
    told = capfd.readouterr().err + "".join(config.config_problems())
    assert "credentials.use_keyring" in told and "hunter2" not in told


ONCE = "from terok_native import _lib; _lib.project_setting('x'); from terok.lib.core import config; config.get_vault_bypass()"


def test_a_process_says_it_once(configure, home):
    configure("tuii: {}\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "TEROK_"))}
    done = subprocess.run([sys.executable, "-c", ONCE], env=environment, capture_output=True, text=True)
    assert done.stderr.count("Warning [config]") == 1 and done.returncode == 0, done.stderr


def test_threads_read_the_same(configure):
    configure("tasks: {name_categories: [a, b]}\nnope: 1\n")
    found = []
    threads = [threading.Thread(target=lambda: found.append(config.get_task_name_categories())) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == [["a", "b"]] * 8


SILENT = """
import sys
import terok.lib.core.config, terok.lib.core.paths, terok.lib.core.version, terok.lib.util.fs, terok.ui_utils.terminal
import terok.lib.util.logging_utils, terok.lib.util.check_reporter, terok.ui_utils.editor
print([name for name in ("pydantic", "ruamel.yaml", "terok_sandbox", "terok_executor", "importlib.metadata") if name in sys.modules])
print(terok.lib.core.config.get_services_mode())
"""


@pytest.mark.parametrize("home_is_set", [True, False])
def test_importing_reads_nothing_and_needs_no_home(home, home_is_set):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HOME", "XDG_", "TEROK_"))}
    if home_is_set:
        environment["HOME"] = str(home)
    done = subprocess.run([sys.executable, "-c", SILENT], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "socket"], done.stderr
    assert not any(home.iterdir())


NOBODY = """
import terok.lib.core.config as config
print(config.get_services_mode(), len(config.global_config_search_paths()), config.config_problems())
try:
    config.user_projects_dir()
except RuntimeError as error:
    print("HOME" in str(error))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_user_without_name_and_home(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", NOBODY], env={}, user=54321, group=54321, extra_groups=[], capture_output=True, text=True,
        cwd="/",
    )  # fmt: skip
    assert done.stdout.splitlines() == ["socket 2 []", "True"], done.stderr
