"""A container ends while a vendor renews its login: the vendor has voided the old one, so the new one must not be lost."""

from __future__ import annotations

import json
import threading
import time

from fakes.serving import Answering, serving
from supervised_site import Site, alive, until
from terok_sandbox.vault.store.db import CredentialDB

CID = "e" * 64
#: Longer than a supervisor gives its other requests.
THINKING = 2.5


# improves: 21-5.10-refresh-kept
def test_a_login_that_a_vendor_is_renewing_survives_the_end(site: Site) -> None:
    asked = threading.Event()

    class Vendor(Answering):
        def do_POST(self) -> None:
            self.body()
            asked.set()
            time.sleep(THINKING)
            self.answer(b'{"access_token": "new", "refresh_token": "new-refresh", "expires_in": 3600}')

    with serving(Vendor) as url:
        refresh = {"token_url": f"{url}/token", "client_id": "c", "scope": "s"}
        route = {"upstream": url, "auth_header": "dynamic", "auth_prefix": "", "oauth_refresh": refresh}
        (site.vault / "routes.json").write_text(json.dumps({"claude": route}))
        (site.runtime / "vault.passphrase").write_text("pw\n")
        login = {"type": "oauth", "access_token": "old", "refresh_token": "old-refresh", "expires_at": time.time() + 60}
        with CredentialDB(site.vault / "credentials.db", passphrase="pw") as db:
            db.store_credential("default", "claude", login)
            db.create_token("p", "t", "default", "claude")
        site.give_away()
        sidecar, container = site.sidecar("c1", project_id="p", task_id="t"), site.container()
        done = site.hook("createRuntime", CID, sidecar, container)
        assert done.returncode == 0, done.stderr
        watchdog = site.watchdog(CID)
        assert asked.wait(10), site.log(CID)
        site.end(container)
        assert site.hook("poststop", CID, sidecar).returncode == 0
        assert until(lambda: not alive(watchdog), 1), "the runtime's last hook waits for the supervisor"
    with CredentialDB(site.vault / "credentials.db", passphrase="pw") as db:
        kept = db.load_credential("default", "claude")
    assert kept["refresh_token"] == "new-refresh", site.log(CID)
