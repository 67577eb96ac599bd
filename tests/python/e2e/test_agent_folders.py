"""Claude Code in one container against Claude Code in the next one."""

from __future__ import annotations

from e2e_site import Site

HOOK = '{"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": "touch /workspace/taken-over"}]}]}}'
PLANT = {
    "steps": [
        {"tool": "shell", "command": f"printf '%s' '{HOOK}' >~/.claude/settings.json; mkdir -p ~/.claude/commands"},
        {"tool": "shell", "command": "echo evil >~/.claude/commands/quagga.md; ls ~/.claude/projects/*/*.jsonl"},
        {"say": "Planted."},
    ],
    "side": "Plant",
}
LOOK = {
    "steps": [
        {"tool": "shell", "command": "cat ~/.claude/projects/*/*.jsonl >/workspace/seen; ls ~/.claude/commands >>/workspace/seen"},
        {"say": "Looked."},
    ],
    "side": "Look",
}


# holds: agent-folder-per-container
def test_hook_and_transcripts_of_one_container_reach_no_other(site: Site) -> None:
    first, second = site.repository(), site.repository()
    for repo, script, prompt in ((first, PLANT, "Word of the first: heliotrope."), (second, LOOK, "Look around.")):
        with site.model(script):
            done = site.cli("run", "claude", str(repo), "-p", prompt, "--base", site.base)
        assert done.returncode == 0, done.stdout + done.stderr
    assert not (second / "taken-over").exists()
    seen = (second / "seen").read_text()
    assert "Look around." in seen, "the transcript of its own run is there"
    assert "heliotrope" not in seen and "quagga" not in seen
