//! Refreshing logins against a scripted token endpoint.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker::{Markers, Owner};
use serde_json::{Value, json};
use vault::VaultCell;

use crate::stage::{Stage, Stub, TestVault, Then, logged};

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64().floor()
}

/// A login whose access token ends in so many seconds.
fn login(ends_in: f64) -> Value {
    json!({
        "type": "oauth", "access_token": "old-access", "refresh_token": "old-refresh",
        "expires_at": now() + ends_in, "scopes": ["a"], "extra": {"kept": true},
    })
}

const ROTATED: &str = r#"{"access_token": "new-access", "refresh_token": "new-refresh", "expires_in": 3600}"#;

type Bodies = Arc<Mutex<Vec<Value>>>;

/// A token endpoint that answers with `status` and `text` after `act`; and the questions it got.
fn endpoint(status: u16, text: &str, act: impl Fn() + Send + Sync + 'static) -> (Stub, Bodies) {
    let bodies = Bodies::default();
    let (kept, text) = (bodies.clone(), text.to_owned());
    let stub = Stub::new(move |visit| {
        let body = visit.body();
        kept.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        act();
        visit.send(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
        Then::Stay
    });
    (stub, bodies)
}

/// An upstream that accepts `new-access` alone.
fn upstream() -> Stub {
    Stub::new(|visit| {
        let body = visit.body();
        let good = visit.head.get("authorization") == Some("Bearer new-access");
        let status = if good { "200 OK" } else { "401 Unauthorized" };
        visit.send(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len()));
        visit.send(body);
        Then::Stay
    })
}

fn routes(endpoint: &Stub, upstream: &Stub) -> Value {
    json!({"p": {
        "upstream": upstream.url(), "oauth_extra_headers": {"beta": "oauth"},
        "oauth_refresh": {"token_url": format!("{}/oauth/token?x=1", endpoint.url()), "client_id": "client-1", "scope": "s t"},
    }})
}

fn vault(record: Value) -> Arc<TestVault> {
    let vault = Arc::new(TestVault::default());
    vault.grant("T", "proj", "task", "p");
    vault.store("p", record);
    vault
}

fn start(routes: &Value, vault: &Arc<TestVault>) -> Stage {
    let cell = VaultCell::open(vault.store.clone());
    Stage::start(routes.clone(), Owner::Everyone, Markers::default(), vault.clone(), cell)
}

fn stored(vault: &TestVault) -> Value {
    vault.store.load_credential("default", "p").unwrap().map_or(Value::Null, Value::Object)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(40), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn journals(vault: &TestVault) -> usize {
    let names = std::fs::read_dir(vault.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(".refreshed-")).count()
}

#[test]
fn what_is_due_is_refreshed_at_the_start() {
    for (ends_in, due) in
        [(Some(599.0), true), (Some(-5.0), true), (None, true), (Some(0.0), true), (Some(630.0), false)]
    {
        let mut record = login(ends_in.unwrap_or_default());
        match ends_in {
            None => record["expires_at"] = Value::Null,
            Some(0.0) => drop(record.as_object_mut().unwrap().remove("expires_at")),
            Some(_) => {}
        }
        let (endpoint, bodies) = endpoint(200, ROTATED, || {});
        let vault = vault(record.clone());
        let stage = start(&routes(&endpoint, &upstream()), &vault);
        if !due {
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!((stored(&vault), endpoint.seen().len()), (record, 0));
            continue;
        }
        until("the login is stored", || stored(&vault)["access_token"] == "new-access");
        let new = stored(&vault);
        assert_eq!((&new["refresh_token"], &new["extra"]), (&json!("new-refresh"), &json!({"kept": true})));
        assert!((new["expires_at"].as_f64().unwrap() - now() - 3600.0).abs() < 30.0);
        let question = json!({
            "grant_type": "refresh_token", "refresh_token": "old-refresh", "client_id": "client-1", "scope": "s t",
        });
        assert_eq!(*bodies.lock().unwrap(), [question]);
        let head = endpoint.last();
        assert_eq!(
            (head.first.as_str(), head.get("content-type")),
            ("POST /oauth/token?x=1 HTTP/1.1", Some("application/json"))
        );
        until("the journal goes", || journals(&vault) == 0);
        drop(stage);
    }
}

#[test]
fn an_answer_without_the_optional_members() {
    let (endpoint, _) = endpoint(200, r#"{"access_token": "new-access"}"#, || {});
    let vault = vault(login(10.0));
    let _stage = start(&routes(&endpoint, &upstream()), &vault);
    until("the login is stored", || stored(&vault)["access_token"] == "new-access");
    let new = stored(&vault);
    assert_eq!(new["refresh_token"], "old-refresh");
    assert!((new["expires_at"].as_f64().unwrap() - now() - 28_800.0).abs() < 30.0);
}

#[test]
fn two_brokers_ask_once() {
    let (endpoint, _) = endpoint(200, ROTATED, || std::thread::sleep(Duration::from_millis(400)));
    let vault = vault(login(10.0));
    let upstream = upstream();
    let routes = routes(&endpoint, &upstream);
    let stages = [start(&routes, &vault), start(&routes, &vault)];
    // Requests of both wait for the one answer.
    for stage in &stages {
        assert_eq!(stage.ask("GET /", &["x-api-key: T"]).status(), 200);
    }
    until("the login is stored", || stored(&vault)["access_token"] == "new-access");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(endpoint.seen().len(), 1);
    let locks: Vec<_> = std::fs::read_dir(vault.dir().join("locks")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(locks.len() == 1 && locks[0].to_string_lossy().starts_with("refresh-default-"), "{locks:?}");
}

#[test]
fn a_failing_endpoint_changes_nothing_and_says_nothing() {
    for (status, text) in [
        (500, r#"{"error": "cannot use old-refresh-7c1d"}"#),
        (400, r#"{"error": "invalid_grant", "token": "old-refresh-7c1d"}"#),
        (200, r#"{"access_token": "", "token": "old-refresh-7c1d"}"#),
        (200, "old-refresh-7c1d"),
    ] {
        let (endpoint, _) = endpoint(status, text, || {});
        let mut record = login(10.0);
        record["refresh_token"] = "old-refresh-7c1d".into();
        let vault = vault(record.clone());
        let before = logged().len();
        let _stage = start(&routes(&endpoint, &upstream()), &vault);
        until("the failure is logged", || {
            logged()[before..].iter().any(|line| line.contains("cannot refresh a login"))
        });
        assert_eq!((stored(&vault), journals(&vault)), (record, 0));
        assert!(logged().iter().all(|line| !line.contains("7c1d")), "{:?}", logged());
    }
}

// improves: 21-5.10-refresh-own-sets
#[test]
fn other_containers_logins_are_left_alone() {
    let (endpoint, bodies) = endpoint(200, ROTATED, || {});
    let vault = vault(login(10.0));
    let mut foreign = login(10.0);
    foreign["refresh_token"] = "foreign".into();
    for set in ["other", "team"] {
        vault.store_set(set, "p", foreign.clone());
    }
    vault.grant_set("U", "proj", "task2", "other", "p");
    let owner = Owner::new("proj", "task");
    let cell = VaultCell::open(vault.store.clone());
    let _stage = Stage::start(routes(&endpoint, &upstream()), owner, Markers::default(), vault.clone(), cell);
    until("its own login is stored", || stored(&vault)["access_token"] == "new-access");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(bodies.lock().unwrap().len(), 1);
    assert_eq!(Value::Object(vault.store.load_credential("other", "p").unwrap().unwrap()), foreign);
}

// improves: 21-5.10-refresh-on-401
#[test]
fn a_rejected_login_is_refreshed_and_the_request_repeated_once() {
    let (endpoint, bodies) = endpoint(200, ROTATED, || {});
    let vault = vault(login(7200.0));
    let upstream = upstream();
    let stage = start(&routes(&endpoint, &upstream), &vault);
    let text = "POST /v1 HTTP/1.1\r\nHost: x\r\nx-api-key: T\r\nContent-Length: 5\r\n\r\nhello";
    let mut client = stage.client();
    let reply = client.ask(text);
    assert_eq!((reply.status(), reply.text()), (200, "hello"));
    assert_eq!((bodies.lock().unwrap().len(), upstream.seen().len()), (1, 2));
    assert!(upstream.seen().iter().all(|head| head.all("beta") == ["oauth"]));
    // One that is rejected again right afterwards has another trouble.
    vault.store(
        "p",
        json!({"type": "oauth", "access_token": "bad", "refresh_token": "new-refresh", "expires_at": now() + 7200.0}),
    );
    for _ in 0..3 {
        assert_eq!(client.ask(text).status(), 401);
    }
    assert_eq!((bodies.lock().unwrap().len(), upstream.seen().len()), (1, 5));
    // A body that is gone is not repeated, but the next request is fine.
    let stage = start(&routes(&endpoint, &upstream), &vault);
    let size = 3 << 20;
    let mut large = stage.client();
    large.send(format!("POST /v1 HTTP/1.1\r\nHost: x\r\nx-api-key: T\r\nContent-Length: {size}\r\n\r\n"));
    large.send(vec![b'x'; size]);
    assert_eq!(large.reply(false).status(), 401);
    assert_eq!(stage.client().ask(text).status(), 200);
}

// holds: refresh-limited-across-containers
#[test]
fn vendor_that_rejects_every_token_causes_one_refresh_of_all_containers() {
    let (endpoint, bodies) = endpoint(200, ROTATED, || {});
    let upstream = Stub::saying("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    let vault = vault(login(7200.0));
    let routes = routes(&endpoint, &upstream);
    for stage in [start(&routes, &vault), start(&routes, &vault), start(&routes, &vault)] {
        assert_eq!(stage.ask("GET /", &["x-api-key: T"]).status(), 401);
    }
    assert_eq!(bodies.lock().unwrap().len(), 1);
}

// holds: refresh-limited-across-containers
#[test]
fn refused_login_is_tried_once_by_all_containers() {
    let (endpoint, bodies) = endpoint(400, "{}", || {});
    let vault = vault(login(-100.0));
    let routes = routes(&endpoint, &upstream());
    for stage in [start(&routes, &vault), start(&routes, &vault), start(&routes, &vault)] {
        assert_eq!(stage.ask("GET /", &["x-api-key: T"]).status(), 401);
    }
    assert_eq!(bodies.lock().unwrap().len(), 1);
}

// improves: 21-5.10-refresh-backoff
#[test]
fn a_login_that_cannot_be_refreshed_is_not_tried_at_every_request() {
    let (endpoint, bodies) = endpoint(400, "{}", || {});
    let vault = vault(login(-100.0));
    let upstream = upstream();
    let stage = start(&routes(&endpoint, &upstream), &vault);
    for _ in 0..5 {
        assert_eq!(stage.ask("GET /", &["x-api-key: T"]).status(), 401);
    }
    assert_eq!(bodies.lock().unwrap().len(), 1);
    // A new login ends the pause.
    let mut new = login(-100.0);
    new["refresh_token"] = "another".into();
    vault.store("p", new);
    assert_eq!(stage.ask("GET /", &["x-api-key: T"]).status(), 401);
    assert_eq!(bodies.lock().unwrap().len(), 2);
}

// improves: 21-5.10-refresh-new-login
#[test]
fn a_login_that_changed_meanwhile_is_left_alone() {
    let mut again = login(7200.0);
    (again["refresh_token"], again["access_token"]) = ("logged-in-again".into(), "other".into());
    for then in [Some(again), None] {
        let vault = vault(login(10.0));
        let (actor, kept) = (vault.clone(), then.clone());
        let act = move || match &kept {
            Some(record) => actor.store("p", record.clone()),
            None => actor.sql("DELETE FROM credentials", &[]),
        };
        let (endpoint, bodies) = endpoint(200, ROTATED, act);
        let _stage = start(&routes(&endpoint, &upstream()), &vault);
        until("the endpoint is asked", || bodies.lock().unwrap().len() == 1);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!((stored(&vault), journals(&vault)), (then.unwrap_or(Value::Null), 0));
    }
}

// improves: 21-5.10-refresh-off-loop 21-5.10-refresh-kept
#[test]
fn a_busy_vault_delays_the_writing_and_nobody_else() {
    let vault = vault(login(500.0));
    let actor = vault.clone();
    let (endpoint, _) = endpoint(200, ROTATED, move || actor.sql("BEGIN IMMEDIATE", &[]));
    let stub = Stub::ok();
    let stage = start(&routes(&endpoint, &stub), &vault);
    until("the login is kept beside the vault", || journals(&vault) == 1);
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(stage.ask("GET /", &["x-api-key: T"]).status(), 200);
    }
    // One request that waits for the vault would take its five seconds.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(stored(&vault)["access_token"], "old-access");
    vault.sql("ROLLBACK", &[]);
    until("the login is stored", || stored(&vault)["access_token"] == "new-access" && journals(&vault) == 0);
}

// improves: 21-5.10-refresh-kept
#[test]
fn the_end_waits_for_a_vendor_that_has_the_old_token() {
    let (endpoint, bodies) = endpoint(200, ROTATED, || std::thread::sleep(Duration::from_millis(1500)));
    let vault = vault(login(10.0));
    let mut stage = start(&routes(&endpoint, &upstream()), &vault);
    until("the vendor is asked", || !bodies.lock().unwrap().is_empty());
    stage.halt();
    assert_eq!((stored(&vault)["refresh_token"].as_str(), journals(&vault)), (Some("new-refresh"), 0));
}

#[test]
fn the_end_does_not_wait_for_a_vault_and_keeps_the_login_beside_it() {
    let vault = vault(login(10.0));
    let actor = vault.clone();
    let (endpoint, _) = endpoint(200, ROTATED, move || actor.sql("BEGIN IMMEDIATE", &[]));
    let mut stage = start(&routes(&endpoint, &upstream()), &vault);
    until("the login is kept beside the vault", || journals(&vault) == 1);
    let began = Instant::now();
    stage.halt();
    assert!(began.elapsed() < server::GRACE * 3 && journals(&vault) == 1);
    vault.sql("ROLLBACK", &[]);
}

/// The broker that the next test kills; by itself it does nothing.
#[test]
#[allow(clippy::print_stdout)]
fn a_broker_to_be_killed() {
    let Some(place) = std::env::var_os("TEROK_TEST_BROKER") else { return };
    let place: Value = serde_json::from_str(place.to_str().unwrap()).unwrap();
    let path = std::path::Path::new(place["vault"].as_str().unwrap());
    let store = Arc::new(vault::Store::open(path, &base::secret::Secret::new("pw")).unwrap());
    let vault = Arc::new(TestVault::on(store));
    let _stage = start(&place["routes"], &vault);
    println!("serving");
    std::thread::sleep(Duration::from_secs(60));
}

/// A broker that was killed between the vendor's answer `text` and the vault, and the questions the vendor gets.
fn killed_before_it_could_store(text: &str) -> (Arc<TestVault>, Value, Bodies, [Stub; 2]) {
    let vault = vault(login(10.0));
    let (actor, held) = (vault.clone(), std::sync::Once::new());
    let (endpoint, bodies) = endpoint(200, text, move || held.call_once(|| actor.sql("BEGIN IMMEDIATE", &[])));
    let upstream = upstream();
    let routes = routes(&endpoint, &upstream);
    let place = json!({"vault": vault.store.path(), "routes": routes});
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "refresh::a_broker_to_be_killed", "--nocapture"])
        .env("TEROK_TEST_BROKER", place.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("serving")));
    until("the login is kept beside the vault", || journals(&vault) == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    vault.sql("ROLLBACK", &[]);
    assert_eq!(stored(&vault)["refresh_token"], "old-refresh");
    (vault, routes, bodies, [endpoint, upstream])
}

// improves: 21-5.10-refresh-kept
#[test]
fn a_broker_killed_between_answer_and_vault_loses_nothing() {
    let (vault, routes, bodies, _stubs) = killed_before_it_could_store(ROTATED);
    let _next = start(&routes, &vault);
    until("the login is stored", || stored(&vault)["refresh_token"] == "new-refresh" && journals(&vault) == 0);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(bodies.lock().unwrap().len(), 1, "the vendor is not asked again");
}

// improves: 21-5.10-refresh-kept
#[test]
fn a_login_that_was_kept_and_is_due_again_is_refreshed_at_once() {
    // It waited for the next broker until it was over, or as good as over.
    let text = ROTATED.replace("3600", "300");
    let (vault, routes, bodies, _stubs) = killed_before_it_could_store(&text);
    let _next = start(&routes, &vault);
    until("the vendor is asked with what was kept", || bodies.lock().unwrap().len() == 2);
    assert_eq!(bodies.lock().unwrap()[1]["refresh_token"], "new-refresh");
    until("the login is stored", || stored(&vault)["refresh_token"] == "new-refresh" && journals(&vault) == 0);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(bodies.lock().unwrap().len(), 2, "one refresh is enough, however short-lived its outcome");
}
