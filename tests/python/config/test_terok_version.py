"""Which version this is."""

import json

import pytest
import terok
from terok.lib.core import version


@pytest.mark.parametrize(
    ("text", "short", "base"),
    [
        ("0.7.4.post4.dev0+549a07a", "0.7.4.post4", "0.7.4"),
        ("0.8.0", "0.8.0", "0.8.0"),
        ("1.2.3rc1", "1.2.3rc1", "1.2.3"),
        ("1.2.3+local", "1.2.3", "1.2.3"),
        ("unknown", "unknown", "unknown"),
        ("", "", ""),
    ],
)
def test_forms(text, short, base):
    assert (version.short_version(text), version.base_version(text)) == (short, base)


def test_with_a_branch():
    assert version.format_version_string("1", None) == "1" and version.format_version_string("1", "b") == "1 [b]"


def test_what_is_installed():
    found, branch = version.get_version_info()
    assert found == terok.__version__ and found[0].isdigit() and branch is None


@pytest.mark.parametrize(
    ("record", "revision"),
    [
        ({"vcs_info": {"requested_revision": "main", "commit_id": "abc"}}, "main"),
        ({"vcs_info": {"requested_revision": " ", "commit_id": "abc"}}, "abc"),
        ({"vcs_info": {"commit_id": 5}}, None),
        ({"vcs_info": []}, None),
        ([], None),
        (None, None),
    ],
)
def test_where_it_was_installed_from(record, revision, tmp_path, monkeypatch):
    folder = tmp_path / "made_up-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1\n")
    if record is not None:
        (folder / "direct_url.json").write_text(json.dumps(record))
    monkeypatch.syspath_prepend(tmp_path)
    assert version._get_pep610_revision("made-up") == revision


def test_nothing_raises(monkeypatch):
    monkeypatch.setattr(version, "_get_pep610_revision", lambda: 1 / 0)
    monkeypatch.setattr(terok, "__version__", None, raising=False)
    assert version.get_version_info() == ("unknown", None)
