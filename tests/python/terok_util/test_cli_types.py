"""Command trees: composing, wiring into argparse, dispatching."""

import argparse

import pytest
from terok_util import ArgDef, CommandDef, CommandTree


def first(**kw):
    first.seen = kw
    return 7


def second(**kw):
    return kw


def leaf(name, handler=first, **kw):
    return CommandDef(name, handler=handler, **kw)


@pytest.fixture
def tree():
    shared = leaf("list")
    return CommandTree(
        [
            leaf("run", args=(ArgDef("repo", nargs="?", default="."), ArgDef("-t/--time-out", type=int, default=5))),
            CommandDef("gate", children=(leaf("path"), CommandDef("keys", children=(shared,)))),
            CommandDef("ssh", children=(shared,)),
        ]
    )


def parse(tree, *argv):
    parser = argparse.ArgumentParser()
    tree.wire(parser)
    return parser.parse_args(argv)


def test_walking(tree):
    assert ["/".join(path) for path, _ in tree.walk()] == [
        "run", "gate", "gate/path", "gate/keys", "gate/keys/list", "ssh", "ssh/list",
    ]  # fmt: skip
    assert [node.name for node in tree] == ["run", "gate", "ssh"] and len(tree) == 3
    assert tree.find_at(["gate", "path"]).name == "path"
    for nowhere in ([], ["x"], ["run", "x"], ["gate", "keys", "x"]):
        with pytest.raises(KeyError):
            tree.find_at(nowhere)


def test_overlay_replaces_only_what_it_must(tree):
    changed = tree.overlay({("gate", "path"): second, ("no", "such"): second})
    assert changed.find_at(("gate", "path")).handler is second
    assert changed.roots[0] is tree.roots[0] and changed.roots[2] is tree.roots[2]
    assert changed.find_at(("gate", "keys")) is tree.find_at(("gate", "keys"))
    assert changed.roots[1] is not tree.roots[1]
    assert tree.find_at(("gate", "path")).handler is first
    assert tree.overlay({("x",): second}).roots is tree.roots


def test_a_node_in_two_places_changes_in_both(tree):
    changed = tree.overlay({("ssh", "list"): second})
    assert changed.find_at(("gate", "keys", "list")).handler is second


def test_adding(tree):
    more = leaf("more")
    assert [node.name for node in tree.__add__([more])] == ["run", "gate", "ssh", "more"]
    assert (tree + CommandTree([more])).roots[3] is more
    assert tree.extend_at((), [more]).roots[3] is more
    grown = tree.extend_at(("gate", "keys"), [more])
    assert [node.name for node in grown.find_at(("gate", "keys")).children] == ["list", "more"]
    with pytest.raises(TypeError):
        tree.extend_at(("run",), [more])
    with pytest.raises(KeyError):
        tree.extend_at(("x",), [more])


def test_arguments_reach_the_handler(tree):
    assert CommandTree.dispatch(parse(tree, "run", "there", "-t", "9")) is None
    assert first.seen == {"repo": "there", "time_out": 9}
    CommandTree.dispatch(parse(tree, "run"))
    assert first.seen == {"repo": ".", "time_out": 5}


def test_pass_through_arguments():
    namespace = argparse.Namespace(_cmd=leaf("x"), podman_args=["--rm"])
    CommandTree.dispatch(namespace)
    assert first.seen == {"podman_args": ["--rm"]}


def test_coroutines_run_to_their_end():
    done = []

    async def handler(**kw):
        done.append(kw)

    CommandTree.dispatch(argparse.Namespace(_cmd=leaf("x", handler)))
    assert done == [{}]


def test_exit_statuses(tree):
    with pytest.raises(SystemExit) as nothing:
        CommandTree.dispatch(argparse.Namespace())
    assert nothing.value.code == 2
    with pytest.raises(SystemExit) as group:
        CommandTree.dispatch(argparse.Namespace(_cmd=CommandDef("g")))
    assert isinstance(group.value.code, str)
    with pytest.raises(SystemExit) as marked:
        CommandTree.dispatch(argparse.Namespace(_cmd=leaf("supervisor", extras={"exit_status": True})))
    assert marked.value.code == 7
    CommandTree.dispatch(argparse.Namespace(_cmd=leaf("supervisor", lambda: 0, extras={"exit_status": True})))


def test_groups_know_their_help(tree):
    namespace = parse(tree, "gate")
    assert "keys" in namespace._group_help.format_help() and not hasattr(namespace, "_cmd")


def test_slimmer_foreign_commands_are_taken():
    class Slim:
        name, help, handler, args, children = "slim", "", staticmethod(first), (), ()

    CommandTree.dispatch(parse(CommandTree([Slim()]), "slim"))
    assert first.seen == {}


def test_required_only_for_options():
    tree = CommandTree([leaf("x", args=(ArgDef("--need", required=True), ArgDef("pos", required=True)))])
    with pytest.raises(SystemExit):
        parse(tree, "x", "p")
    assert parse(tree, "x", "--need", "1", "p").pos == "p"


def test_mounting_below_existing_subparsers(tree):
    parser = argparse.ArgumentParser()
    tree.wire(parser.add_subparsers())
    assert parser.parse_args(["gate", "path"])._cmd is tree.find_at(("gate", "path"))


def test_copies():
    node = leaf("x")
    assert node.with_handler(second).handler is second and node.handler is first
    group = node.with_children((leaf("y"),))
    assert group.is_group and not node.is_group
