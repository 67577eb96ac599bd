"""A container of the product is the same whatever the site's podman configuration says.

Every setting of the table is tried by itself in a real container, with podman 4 and podman 5. Inside, one script
describes what the container is: namespaces, capabilities, filter, mounts, devices, variables, limits, processes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from lane import LANES
from product_site import ProductSite

TABLE = Path(__file__).parents[2] / "fixtures/sandbox/site_settings.json"
ROWS = """
import re, tomllib
rows = json.loads(Path(TABLE).read_text())
conf = Path(os.environ.get("XDG_CONFIG_HOME", "/etc")) / "containers/containers.conf"
plain = conf.read_text() if conf.exists() else ""
os.environ |= {"SITE_SECRET": "of the host", "HTTP_PROXY": "http://user:pw@192.0.2.9:3128", "https_proxy": "http://192.0.2.9"}
DESCRIBE = '''
for kind in cgroup ipc mnt net pid user uts; do
    [ "$(readlink /proc/self/ns/$kind)" = "$(eval echo \\$HOST_$kind)" ] && echo "$kind of the host"
done
grep -E "^(Cap|Seccomp|NoNewPrivs)" /proc/self/status
env | grep -v -E "^(HOSTNAME|HOST_)" | sort
cut -d " " -f 2 /proc/mounts | sort
ls /dev
ulimit -a
umask
grep -c . /etc/hosts
cat /proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj
tr "\\\\0" " " </proc/1/cmdline | head -c 20
set -- /proc/[0-9]*; echo $#
touch /tmp/written && echo writable
for address in 127.0.0.1 $(ip route | sed -n "s/default via \\\\([^ ]*\\\\).*/\\\\1/p"); do
    timeout 2 nc $address $PORT </dev/null 2>/dev/null | grep HOST
done
echo end
'''
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    while True: listener.accept()[0].sendall(b"HOST LOOPBACK\\n")
import threading; threading.Thread(target=serve, daemon=True).start()
here = {f"HOST_{kind}": os.readlink(f"/proc/self/ns/{kind}") for kind in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")}
def with_settings(rows):
    tables = {}
    for key, value in rows:
        table, name = key.split(".")
        tables.setdefault(table, []).append(f"{name} = {value}")
    text = plain
    for table, lines in tables.items():
        for line in lines:
            text = re.sub(rf"(?m)^{re.escape(line.split(' =')[0])} *=.*\\n", "", text)
        if f"[{table}]" not in text: text += f"[{table}]\\n"
        text = text.replace(f"[{table}]\\n", f"[{table}]\\n" + "".join(f"{line}\\n" for line in lines), 1)
    tomllib.loads(text)
    return text
box = Sandbox(cfg)
def container(rows):
    conf.write_text(with_settings(rows))
    spec = RunSpec("lane-site", IMAGE, here | {"PORT": str(listener.getsockname()[1])}, (VolumeSpec(ROOT / "w", "/workspace"),), ("sh", "-c", DESCRIBE), ROOT)
    try:
        box.run(spec)
        box.wait_for_exit("lane-site", 60)
        told = podman("logs", "lane-site").stdout.splitlines()
        look = "{{.HostConfig.LogConfig.Type}} {{.HostConfig.PidsLimit}} {{.HostConfig.Privileged}} {{.HostConfig.IpcMode}}"
        told += [podman("inspect", "-f", look, "lane-site").stdout.strip()]
        annotations = json.loads(podman("inspect", "-f", "{{json .Config.Annotations}}", "lane-site").stdout or "{}")
        return told + [f"{k} {v}" for k, v in sorted((annotations or {}).items()) if "run.oci" in k]
    except SystemExit as error:
        return [str(error)]
    finally:
        conf.write_text(plain)
        box.stop(["lane-site"])
bare = container([])
different = {}
for chosen in CHOICES(rows):
    found = container(chosen)
    if found != bare: different[" ".join(key for key, _ in chosen)] = [sorted(set(bare) - set(found)), sorted(set(found) - set(bare))]
tell({"bare": bare, "different": different, "rows": len(rows)})
"""


def tried(lane: str, folder: Path, choices: str):
    site = ProductSite(LANES[lane].require(), folder).prepare()
    table = folder / "site_settings.json"
    table.write_text(TABLE.read_text())
    told = site.tell(f"TABLE, CHOICES = {str(table)!r}, {choices}\n{ROWS}")
    assert told["rows"] > 40
    bare = "\n".join(told["bare"])
    assert bare.count("\nend\n") == 1 and "Seccomp:\t2" in bare and "\nwritable\n" in bare, bare
    assert "of the host" not in bare and "192.0.2.9" not in bare and "HOST LOOPBACK" not in bare, bare
    assert "00000000800405fb" in bare, "the capabilities are those that the product names"
    return told["different"]


#: They change what a site may decide: the size of /dev/shm and who answers for names do not protect the container.
HARMLESS = {"containers.base_hosts_file", "containers.host_containers_internal_ip"}


# holds: site-settings
@pytest.mark.parametrize(("lane", "together"), [("rootless", 1), ("podman5", 6)])
def test_no_setting_of_a_site_changes_a_container(lane: str, together: int, lane_folder: Path) -> None:
    """With podman 5, where a container takes longer, several settings at a time."""
    kept = f"[row for row in rows if row[0] not in {HARMLESS!r}]"
    groups = f"lambda rows: (lambda kept: [kept[at : at + {together}] for at in range(0, len(kept), {together})])({kept})"
    assert tried(lane, lane_folder, groups) == {}


# holds: site-settings
@pytest.mark.parametrize("lane", ["rootful", "podman5-rootful"])
def test_all_settings_of_a_site_together_change_no_container_of_root(lane: str, lane_folder: Path) -> None:
    kept = f"lambda rows: [[row for row in rows if row[0] not in {HARMLESS!r}]]"
    assert tried(lane, lane_folder, kept) == {}
