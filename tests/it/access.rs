//! Who is let in to pages and API, and what they may see: nobody without a login, and nobody more than their roles say.

use std::time::Instant;

use postgres::Client;
use serde_json::{Value, json};

use crate::harness::daemon::{Daemon, Setup, text};
use crate::harness::device::{Device, packet};
use crate::harness::http;
use crate::harness::person::{FOLLOWS, Person, cookie};
use crate::harness::{eventually, free_port, imei, postgres as pg, secs};

const PASSWORD: &str = "a correct horse";

/// A server that asks for a login, with an administrator `anna` and two groups: `fleet`, where a device is, and `other`.
struct Scene {
    daemon: Daemon,
    client: Client,
    web: u16,
}

fn scene(change: impl FnOnce(Setup) -> Setup) -> Scene {
    let (database, mut client) = pg::shared().migrated();
    let (port, web) = (free_port(), free_port());
    let setup = Setup::new(&database.url).port(port);
    let setup = setup.more(&format!("[http]\nlisten = \"127.0.0.1:{web}\""));
    let daemon = change(setup).start();
    client
        .batch_execute("INSERT INTO trackport.group (name) VALUES ('other')")
        .unwrap();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    daemon.add_user("anna", &["--admin"], PASSWORD);
    Scene {
        daemon,
        client,
        web,
    }
}

impl Scene {
    fn anybody(&self) -> Person<u16> {
        Person::new(self.web)
    }

    #[track_caller]
    fn anna(&self) -> Person<u16> {
        self.anybody().login("anna", PASSWORD)
    }

    /// The one asset, of the device that has sent.
    fn asset(&mut self) -> i32 {
        self.client
            .query_one("SELECT id FROM trackport.asset", &[])
            .unwrap()
            .get(0)
    }

    fn audit(&mut self) -> Vec<(String, Option<String>, Value)> {
        let rows = self.client.query(
            "SELECT action, user_name, what FROM trackport.audit ORDER BY id",
            &[],
        );
        let entry = |row: &postgres::Row| (row.get(0), row.get(1), row.get(2));
        rows.unwrap().iter().map(entry).collect()
    }
}

#[test]
fn a_login_lets_in_until_the_logout() {
    let mut scene = scene(|setup| setup);
    let anybody = scene.anybody();
    assert_eq!(anybody.status("/me"), 401);
    let answer = anybody.try_login("ANNA", PASSWORD);
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    let set = answer.header("set-cookie").unwrap();
    let (pair, flags) = set.split_once("; ").unwrap();
    assert_eq!(flags, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict");
    let value = pair.strip_prefix("trackport=").unwrap();
    assert_eq!(value.len(), 64, "256 random bits");
    let anna = anybody.clone().with(&format!("Cookie: {pair}\r\n"));
    let me = anna.json("/me");
    assert_eq!(
        (&me["name"], &me["is_admin"]),
        (&json!("anna"), &json!(true))
    );
    assert_eq!(me["groups"].as_array().unwrap().len(), 2);
    // What is in the table lets nobody in.
    let kept: String = scene
        .client
        .query_one(
            "SELECT encode(digest, 'hex') FROM trackport.web_session",
            &[],
        )
        .unwrap()
        .get(0);
    assert_ne!(kept, value);
    let thief = anybody
        .clone()
        .with(&format!("Cookie: trackport={kept}\r\n"));
    assert_eq!(thief.status("/me"), 401);
    let out = anna.send("POST", "/logout", &Value::Null);
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(anna.status("/me"), 401, "the cookie is worth nothing");
    let actions: Vec<String> = scene.audit().into_iter().map(|one| one.0).collect();
    assert_eq!(actions, ["user_added", "login", "logout"]);
}

#[test]
fn a_wrong_password_and_an_unknown_name_cannot_be_told_apart() {
    let mut scene = scene(|setup| setup);
    let anybody = scene.anybody();
    // Once each to warm up, then the better of two.
    let time = |name: &str| {
        (0..2)
            .map(|_| {
                let begun = Instant::now();
                let answer = anybody.try_login(name, "wrong password");
                assert_eq!(answer.status, 401, "{answer:?}");
                (begun.elapsed(), answer.body)
            })
            .min()
            .unwrap()
    };
    let (unknown, text) = time("nobody");
    let (wrong, other_text) = time("anna");
    assert_eq!(text, other_text);
    let (less, more) = (wrong.min(unknown), wrong.max(unknown));
    // Without the hash it would be a hundredth; a busy machine makes a difference, too.
    assert!(less * 4 > more, "{wrong:?} {unknown:?}");
    let failed: Vec<_> = scene.audit().into_iter().skip(1).collect();
    assert_eq!(failed.len(), 4);
    assert_eq!(failed[0].0, "login_failed");
    assert_eq!(failed[0].1.as_deref(), Some("nobody"));
    assert_eq!(failed[3].2, json!({"why": "password"}));
    let log = scene.daemon.wait_log(secs(5), &["web login failed"]);
    assert!(!log.contains("nobody"), "{log}");
}

#[test]
fn whoever_guesses_has_to_wait_and_others_do_not() {
    let scene = scene(|setup| setup);
    scene.daemon.add_user("berta", &[], PASSWORD);
    let anybody = scene.anybody();
    let mut slowed = None;
    for _ in 0..10 {
        let answer = anybody.try_login("anna", "wrong password");
        if answer.status == 429 {
            slowed = Some(answer);
            break;
        }
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    let slowed = slowed.expect("a pause");
    let seconds: u64 = slowed.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(slowed.json()["error"]["code"], "too_many_logins");
    // The right one is not tried either, so that guesses cannot go on beside it.
    assert_eq!(anybody.try_login("Anna", PASSWORD).status, 429);
    assert_eq!(anybody.try_login("berta", PASSWORD).status, 204);
    eventually(secs(60), "the pause ends", || {
        anybody.try_login("anna", PASSWORD).status == 204
    });
}

#[test]
fn nothing_of_the_api_is_answered_without_a_login() {
    let mut scene = scene(|setup| setup);
    let asset = scene.asset();
    let anybody = scene.anybody();
    let mut paths = vec![("GET".to_owned(), "/nowhere".to_owned())];
    let openapi: Value = serde_json::from_str(OPENAPI).unwrap();
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/api/v1").unwrap_or(path);
        // One thing that there is and a few that there are not: nobody hears which.
        let place = path
            .replace("{imei}", &imei(1).to_string())
            .replace("{id}", &asset.to_string())
            .replace("{name}", "trips")
            .replace("{user}", "1");
        for method in methods.as_object().unwrap().keys() {
            let is_method = ["get", "post", "put", "patch", "delete"].contains(&method.as_str());
            if is_method && (method.as_str(), path) != ("post", "/login") {
                paths.push((method.to_uppercase(), place.clone()));
            }
        }
    }
    assert!(paths.len() > 45, "{paths:?}");
    for (method, path) in &paths {
        for headers in [
            "",
            "Cookie: trackport=x\r\n",
            "Authorization: Bearer tp_x\r\n",
        ] {
            let asked = anybody.clone().with(headers).send(method, path, &json!({}));
            assert_eq!(asked.status, 401, "{method} {path} {headers}");
            assert_eq!(asked.json()["error"]["code"], "login_needed");
        }
    }
    // Pages are the same for everybody and say nothing of anybody.
    let page = anybody.get("/");
    assert_eq!(page.status, 200);
    assert!(!page.body.contains(&imei(1).to_string()));
}

/// Every address of the API; that it is every one is tested where the file is.
const OPENAPI: &str = include_str!("../../src/web/openapi.json");

#[test]
fn a_group_that_one_does_not_belong_to_is_not_there() {
    let mut scene = scene(|setup| setup);
    let asset = scene.asset();
    let member = |name: &str, group: &str, role: &str| {
        scene
            .daemon
            .add_user(name, &["--group", group, "--role", role], PASSWORD);
        scene.anybody().login(name, PASSWORD)
    };
    let (viewer, manager, stranger) = (
        member("viewer", "fleet", "viewer"),
        member("manager", "fleet", "manager"),
        member("stranger", "other", "admin"),
    );
    let path = format!("/assets/{asset}");
    assert_eq!(viewer.status(&path), 200);
    assert_eq!(manager.status(&path), 200);
    assert_eq!(stranger.status(&path), 404);
    assert_eq!(stranger.json("/assets")["total"], 0);
    let positions = |person: &Person<u16>| person.get("/api/v1/positions").body;
    let device = imei(1).to_string();
    eventually(secs(20), "the position is shown", || {
        positions(&viewer).contains(&device)
    });
    let theirs = positions(&stranger);
    assert!(theirs.contains("\"positions\":[]"), "{theirs}");
    let rename = json!({"name": "Van 7"});
    assert_eq!(viewer.send("PATCH", &path, &rename).status, 403);
    assert_eq!(stranger.send("PATCH", &path, &rename).status, 404);
    assert_eq!(manager.send("PATCH", &path, &rename).status, 200);
    for path in ["/users", "/audit", "/status"] {
        assert_eq!(manager.status(path), 403, "{path}");
    }
    // Roles in a group are given by its administrators alone.
    let role = json!({"role": "viewer"});
    let members = "/groups/1/members";
    assert_eq!(manager.status(members), 403);
    assert_eq!(stranger.status(members), 404);
    let to_fleet = format!("{members}/stranger");
    assert_eq!(stranger.send("PUT", &to_fleet, &role).status, 404);
    assert_eq!(manager.send("PUT", &to_fleet, &role).status, 403);
    let anna = scene.anna();
    assert_eq!(anna.send("PUT", &to_fleet, &role).status, 200);
    assert_eq!(anna.json(members)["total"], 3);
    eventually(FOLLOWS, "the role is heard of", || {
        stranger.status(&path) == 200
    });
    assert_eq!(anna.send("DELETE", &to_fleet, &Value::Null).status, 204);
    eventually(FOLLOWS, "the role is taken away", || {
        stranger.status(&path) == 404
    });
}

#[test]
fn whoever_is_locked_out_or_gets_another_password_is_out_within_seconds() {
    let scene = scene(|setup| setup);
    let viewer = ["--group", "fleet", "--role", "viewer"];
    scene.daemon.add_user("berta", &viewer, PASSWORD);
    let berta = scene.anybody().login("berta", PASSWORD);
    let token = scene.daemon.must(&["user", "token", "berta", "a script"]);
    let script = scene.anybody().token(&token);
    assert_eq!((berta.status("/me"), script.status("/me")), (200, 200));
    scene.daemon.must(&["user", "disable", "berta"]);
    eventually(FOLLOWS, "she is locked out", || {
        (berta.status("/me"), script.status("/me")) == (401, 401)
    });
    assert_eq!(scene.anybody().try_login("berta", PASSWORD).status, 401);
    scene.daemon.must(&["user", "enable", "berta"]);
    // Her logins have ended; her tokens are what they were.
    eventually(FOLLOWS, "the token works", || script.status("/me") == 200);
    assert_eq!(berta.status("/me"), 401);
    let berta = scene.anybody().login("berta", PASSWORD);
    let output = scene
        .daemon
        .with_password(&["user", "passwd", "berta"], "another long one");
    assert!(output.status.success(), "{output:?}");
    eventually(FOLLOWS, "old logins end", || berta.status("/me") == 401);
    assert_eq!(scene.anybody().try_login("berta", PASSWORD).status, 401);
    let berta = scene.anybody().login("berta", "another long one");
    // She may change it herself, if she knows the present one.
    let id = scene.anna().json("/users")["items"][1]["id"].clone();
    let path = format!("/users/{id}");
    let change =
        |present: &str| json!({"password": "a third long one", "current_password": present});
    assert_eq!(berta.send("PATCH", &path, &change("wrong")).status, 422);
    let bare = json!({"password": "a third long one"});
    assert_eq!(berta.send("PATCH", &path, &bare).status, 422);
    let done = berta.send("PATCH", &path, &change("another long one"));
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(berta.status("/me"), 401);
    scene.anybody().login("berta", "a third long one");
}

#[test]
fn a_token_may_what_its_scope_says_until_it_is_revoked() {
    let mut scene = scene(|setup| setup);
    let anna = scene.anna();
    let made = anna.send("POST", "/tokens", &json!({"name": "reader"}));
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    let reader = scene.anybody().token(made["token"].as_str().unwrap());
    assert_eq!(reader.json("/me")["name"], "anna");
    let group = json!({"name": "by token"});
    let refused = reader.send("POST", "/groups", &group);
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.body.contains("scope"), "{refused:?}");
    let write = scene
        .daemon
        .must(&["user", "token", "anna", "writer", "--write"]);
    let writer = scene.anybody().token(&write);
    // Programs need not look like a page of ours.
    let bare = writer.request(
        "POST",
        "/api/v1/groups",
        "Content-Type: application/json\r\n",
        &group.to_string(),
    );
    assert_eq!(bare.status, 201, "{bare:?}");
    // A cookie beside a wrong token does not count.
    let both = anna.clone().token("tp_wrong");
    assert_eq!(both.status("/me"), 401);
    let listed = anna.json("/tokens");
    assert_eq!(listed["total"], 2);
    assert!(!listed.to_string().contains(made["token"].as_str().unwrap()));
    let path = format!("/tokens/{}", made["id"]);
    assert_eq!(anna.send("DELETE", &path, &Value::Null).status, 204);
    assert_eq!(reader.status("/me"), 401);
    let id: i32 = scene
        .client
        .query_one(
            "SELECT id FROM trackport.api_token WHERE revoked_at IS NULL",
            &[],
        )
        .unwrap()
        .get(0);
    scene
        .daemon
        .must(&["user", "revoke-token", &id.to_string()]);
    eventually(FOLLOWS, "it is revoked", || writer.status("/me") == 401);
    let over = json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"});
    assert_eq!(anna.send("POST", "/tokens", &over).status, 422);
    let soon = json!({"name": "x", "expires_at": "2100-01-01T00:00:00Z"});
    let soon = anna.send("POST", "/tokens", &soon).json();
    let soon_over = scene.anybody().token(soon["token"].as_str().unwrap());
    assert_eq!(soon_over.status("/me"), 200);
    scene
        .client
        .batch_execute(
            "UPDATE trackport.api_token SET expires_at = now() WHERE expires_at IS NOT NULL",
        )
        .unwrap();
    eventually(FOLLOWS, "it is over", || soon_over.status("/me") == 401);
}

#[test]
fn a_login_that_lies_still_or_is_a_month_old_is_over() {
    let mut scene = scene(|setup| setup);
    for sql in [
        "UPDATE trackport.web_session SET seen_at = now() - interval '12 h 1 s'",
        "UPDATE trackport.web_session SET expires_at = now()",
    ] {
        let anna = scene.anna();
        assert_eq!(anna.status("/me"), 200);
        scene.client.batch_execute(sql).unwrap();
        eventually(FOLLOWS, "it is over", || anna.status("/me") == 401);
    }
    // One that is used is noted as used.
    let anna = scene.anna();
    let sql = "UPDATE trackport.web_session SET seen_at = now() - interval '11 h'";
    scene.client.batch_execute(sql).unwrap();
    eventually(FOLLOWS, "it is noted", || {
        assert_eq!(anna.status("/me"), 200);
        let lately =
            "SELECT bool_or(seen_at > now() - interval '1 min') FROM trackport.web_session";
        scene.client.query_one(lately, &[]).unwrap().get(0)
    });
}

#[test]
fn another_site_changes_nothing_in_somebodys_name() {
    let scene = scene(|setup| setup);
    let anna = scene.anna();
    let body = json!({"name": "made by another site"}).to_string();
    let kind = "Content-Type: application/json\r\n";
    for (lines, status) in [
        (format!("{kind}Origin: https://evil.example\r\n"), 403),
        (format!("{kind}Origin: null\r\n"), 403),
        (format!("{kind}Sec-Fetch-Site: cross-site\r\n"), 403),
        ("Content-Type: text/plain\r\n".to_owned(), 415),
        (
            "Content-Type: application/x-www-form-urlencoded\r\n".to_owned(),
            415,
        ),
        (String::new(), 415),
        (format!("{kind}Origin: http://localhost\r\n"), 201),
    ] {
        let answer = anna.request("POST", "/api/v1/groups", &lines, &body);
        assert_eq!(answer.status, status, "{lines} {answer:?}");
    }
    // Nor is somebody logged in as another by it.
    let login = json!({"name": "anna", "password": PASSWORD}).to_string();
    let lines = format!("{kind}Origin: https://evil.example\r\n");
    let answer = anna.request("POST", "/api/v1/login", &lines, &login);
    assert_eq!(answer.status, 403);
    let foreign = anna.clone().with("Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(
        foreign.status("/me"),
        403,
        "nothing is loaded from elsewhere"
    );
    assert_eq!(foreign.get("/").status, 200, "a link works");
}

#[test]
fn users_are_kept_over_the_api_and_nobody_locks_themselves_out() {
    let mut scene = scene(|setup| setup);
    let anna = scene.anna();
    let new = json!({"name": "Berta", "password": "long enough it is"});
    let added = anna.send("POST", "/users", &new);
    assert_eq!(added.status, 201, "{added:?}");
    let id = added.json()["id"].clone();
    assert_eq!(anna.send("POST", "/users", &new).status, 409);
    for (body, field) in [
        (json!({"name": "x", "password": "short"}), "password"),
        (json!({"name": " x"}), "name"),
        (json!({"name": "a\u{0}b"}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"nam": "x"}), "nam"),
    ] {
        let answer = anna.send("POST", "/users", &body);
        assert_eq!(answer.status, 422, "{body} {answer:?}");
        assert!(answer.body.contains(field), "{answer:?}");
    }
    let path = format!("/users/{id}");
    let change = anna.send("PATCH", &path, &json!({"name": "Bert", "disabled": true}));
    assert_eq!(change.json()["disabled"], true);
    assert_eq!(change.json()["name"], "Bert");
    assert_eq!(
        anna.send("PATCH", &path, &json!({"name": "ANNA"})).status,
        409
    );
    let own = anna.json("/users")["items"][0]["id"].clone();
    let own = format!("/users/{own}");
    for body in [json!({"is_admin": false}), json!({"disabled": true})] {
        assert_eq!(anna.send("PATCH", &own, &body).status, 409, "{body}");
    }
    assert_eq!(anna.send("DELETE", &own, &Value::Null).status, 409);
    assert_eq!(anna.send("DELETE", &path, &Value::Null).status, 204);
    assert_eq!(anna.send("DELETE", &path, &Value::Null).status, 404);
    assert_eq!(anna.send("DELETE", "/users/x", &Value::Null).status, 404);
    // What was done is told, page by page.
    let page = anna.json("/audit?action=user_&per_page=2");
    assert_eq!((&page["total"], &page["per_page"]), (&json!(4), &json!(2)));
    assert_eq!(page["items"][0]["action"], "user_removed");
    assert_eq!(page["items"][0]["user_name"], "anna");
    assert_eq!(page["items"][0]["address"], "127.0.0.1");
    assert_eq!(page["items"][0]["what"]["user"], "Bert");
    let second = anna.json("/audit?action=user_&per_page=2&page=2");
    assert_eq!(second["items"][0]["action"], "user_added");
    assert_eq!(anna.json("/audit?user=nobody")["total"], 0);
    assert_eq!(anna.json("/audit?to=2020-01-01T00:00:00Z")["total"], 0);
    assert_eq!(anna.status("/audit?from=yesterday"), 422);
    assert_eq!(scene.audit().len(), 5);
}

#[test]
fn hostile_names_are_kept_as_they_are_and_steer_nothing() {
    let scene = scene(|setup| setup);
    let anna = scene.anna();
    for name in [
        "<script>alert(1)</script>",
        "'; DROP TABLE trackport.user; --",
        "a/../../etc/passwd",
        "\u{202e}admin",
        "anna%00",
    ] {
        let added = anna.send("POST", "/users", &json!({"name": name}));
        assert_eq!(added.status, 201, "{name}: {added:?}");
        assert_eq!(added.json()["name"], name);
        assert_eq!(
            added.header("content-type"),
            Some("application/json"),
            "{name}"
        );
        assert_eq!(added.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(anna.try_login(name, "any password").status, 401);
    }
    for name in ["a\nb", "a\u{1b}[2J", "a\u{0}"] {
        let added = anna.send("POST", "/users", &json!({"name": name}));
        assert_eq!(added.status, 422, "{name:?}");
        // Strangers may type anything.
        assert_eq!(anna.try_login(name, "any password").status, 401);
    }
    let long = "x".repeat(20_000);
    assert_eq!(anna.try_login(&long, &long).status, 401);
    let list = text(&scene.daemon.command(&["user", "list"]).stdout);
    assert!(list.contains("DROP TABLE"), "{list}");
    assert_eq!(anna.json("/users")["total"], 6);
}

#[test]
fn while_the_database_is_away_nobody_comes_in_and_whoever_is_in_stays() {
    let cluster = pg::Cluster::start();
    let (database, _) = cluster.migrated();
    let (port, web) = (free_port(), free_port());
    let http = format!("[http]\nlisten = \"127.0.0.1:{web}\"");
    let daemon = Setup::new(&database.url).port(port).more(&http).start();
    daemon.add_user("anna", &["--admin"], PASSWORD);
    let anybody = Person::new(web);
    let anna = anybody.clone().login("anna", PASSWORD);
    let me = anna.json("/me");
    cluster.stop_server("immediate");
    eventually(secs(20), "the database is missed", || {
        anybody.try_login("anna", PASSWORD).status == 503
    });
    let away = anybody.try_login("anna", PASSWORD);
    assert_eq!(away.json()["error"]["code"], "database_away");
    assert!(away.header("retry-after").is_some());
    std::thread::sleep(secs(4));
    // What is remembered for seconds is over; she is known all the same.
    assert_eq!(anna.json("/me"), me);
    assert_eq!(anna.status("/status"), 200);
    let stranger = anybody.with("Cookie: trackport=x\r\n");
    assert_eq!(stranger.status("/me"), 503);
    cluster.start_server();
    eventually(secs(30), "logins work again", || {
        stranger.try_login("anna", PASSWORD).status == 204
    });
    assert_eq!(anna.json("/me"), me);
}

#[test]
fn an_open_server_is_for_its_own_machine_by_its_own_name() {
    let (database, _) = pg::shared().migrated();
    let (port, web) = (free_port(), free_port());
    let http = format!(
        "[http]\nlisten = \"127.0.0.1:{web}\"\naccess = \"open\"\nhosts = [\"box.example\"]"
    );
    let daemon = Setup::new(&database.url).port(port).more(&http).start();
    let mut person = Person::new(web);
    let me = person.json("/me");
    assert_eq!(
        (&me["access"], &me["is_admin"]),
        (&json!("open"), &json!(true))
    );
    assert_eq!(me["name"], Value::Null);
    for (host, status) in [
        (format!("127.0.0.1:{web}"), 200),
        (format!("localhost:{web}"), 200),
        ("box.example".to_owned(), 200),
        ("evil.example".to_owned(), 403),
        (format!("evil.example:{web}"), 403),
        ("10.0.0.1".to_owned(), 403),
    ] {
        person.host = host.clone();
        assert_eq!(person.status("/me"), status, "{host}");
        assert_eq!(person.get("/").status, status, "{host}");
        assert_eq!(person.get("/healthz").status, 200, "{host}");
    }
    person.host = "localhost".to_owned();
    let through = person.clone().with("X-Forwarded-For: 203.0.113.5\r\n");
    assert_eq!(through.status("/me"), 403);
    // Whoever opens it further is told, and nothing changes.
    daemon.edit_conf(|text| text.replace("listen = \"127.0.0.1:", "listen = \"0.0.0.0:"));
    let checked = daemon.command(&["check", "--conf-only"]);
    assert_eq!(checked.status.code(), Some(78));
    let told = text(&checked.stdout) + &text(&checked.stderr);
    assert!(
        told.contains("[http].access") && told.contains("trackport user add"),
        "{told}"
    );
}

#[test]
fn every_answer_says_what_a_browser_may_do_with_it() {
    let scene = scene(|setup| {
        setup.more(
            "tiles = \"https://tiles.example.com/{z}/{x}/{y}.png\"\ntiles_attribution = \"us\"",
        )
    });
    let anna = scene.anna();
    assert_eq!(
        anna.json("/me")["tiles"],
        json!({"url": "https://tiles.example.com/{z}/{x}/{y}.png", "attribution": "us"})
    );
    for path in ["/", "/api/v1/me", "/api/v1/nowhere", "/nowhere", "/healthz"] {
        let answer = anna.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("img-src 'self' data: https://tiles.example.com;"),
            "{policy}"
        );
        assert!(policy.contains("script-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let permissions = answer.header("permissions-policy").unwrap();
        assert!(permissions.contains("geolocation=()"), "{permissions}");
        assert_eq!(answer.header("strict-transport-security"), None);
        if path.starts_with("/api") {
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
}

#[test]
fn the_reading_role_reads_no_secret() {
    let (_database, mut client) = pg::shared().migrated();
    // As after an upgrade of an upgrade: rights are given anew each time.
    trackport::store::migrate(&mut client).unwrap();
    client
        .batch_execute(
            "INSERT INTO trackport.user (name, password) VALUES ('anna', '$argon2id$x');
             SET ROLE trackport_read",
        )
        .unwrap();
    for (sql, may) in [
        ("SELECT name, is_admin FROM trackport.user", true),
        ("SELECT name, scope FROM trackport.api_token", true),
        ("SELECT * FROM trackport.audit", true),
        ("SELECT * FROM trackport.member", true),
        ("SELECT password FROM trackport.user", false),
        ("SELECT * FROM trackport.user", false),
        ("SELECT u FROM trackport.user u", false),
        ("SELECT digest FROM trackport.api_token", false),
        ("SELECT * FROM trackport.api_token", false),
        ("SELECT count(*) FROM trackport.web_session", false),
        ("SELECT digest FROM trackport.web_session", false),
        ("INSERT INTO trackport.audit (action) VALUES ('x')", false),
    ] {
        let done = client.query(sql, &[]);
        assert_eq!(done.is_ok(), may, "{sql}: {done:?}");
    }
    client.batch_execute("RESET ROLE").unwrap();
}

#[test]
fn passwords_are_read_from_standard_input_and_weak_ones_refused() {
    let scene = scene(|setup| setup);
    for (password, why) in [
        ("short", "10 is the least"),
        ("aaaaaaaaaaaaaa", "one sign repeated"),
        ("berta.berta", "the user's name"),
        ("", "10 is the least"),
    ] {
        let output = scene
            .daemon
            .with_password(&["user", "add", "berta.berta"], password);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains(why), "{output:?}");
    }
    let list = scene.daemon.must(&["user", "list", "--json"]);
    assert_eq!(list.lines().count(), 1, "{list}");
    let anna: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (&anna["name"], &anna["has_password"]),
        (&json!("anna"), &json!(true))
    );
    for args in [
        vec!["user", "passwd", "nobody", "--password-stdin"],
        vec![
            "user", "grant", "anna", "--group", "nowhere", "--role", "viewer",
        ],
        vec![
            "user",
            "add",
            "x",
            "--group",
            "nowhere",
            "--role",
            "viewer",
            "--no-password",
        ],
        vec!["user", "revoke", "anna", "--group", "fleet"],
        vec!["user", "revoke-token", "77"],
    ] {
        let output = scene.daemon.command(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?} {output:?}");
    }
    // A user without a password has tokens only.
    scene.daemon.must(&["user", "add", "bot", "--no-password"]);
    assert_eq!(scene.anybody().try_login("bot", "").status, 401);
    let list = scene.daemon.must(&["user", "list"]);
    assert!(
        list.contains("tokens only") && list.contains("everything"),
        "{list}"
    );
}

#[test]
fn a_device_that_is_erased_is_not_named_by_the_record_of_deeds() {
    let mut scene = scene(|setup| setup);
    let anna = scene.anna();
    let change = json!({"note": "in the red van"});
    let path = format!("/devices/{}", imei(1));
    assert_eq!(anna.send("PATCH", &path, &change).status, 200);
    let named = |scene: &mut Scene| {
        let audit = scene.audit();
        let whole = format!("{audit:?}");
        (audit.len(), whole.contains(&imei(1).to_string()))
    };
    assert!(named(&mut scene).1);
    let before = named(&mut scene).0;
    let imei = imei(1).to_string();
    scene.daemon.must(&["device", "forget", &imei, "--yes"]);
    let (after, still) = named(&mut scene);
    assert!(!still && after >= before, "{:?}", scene.audit());
}

#[test]
fn two_logins_of_one_person_are_two() {
    let scene = scene(|setup| setup);
    let (one, other) = (scene.anna(), scene.anna());
    assert_ne!(
        cookie(&scene.anybody().try_login("anna", PASSWORD)),
        cookie(&scene.anybody().try_login("anna", PASSWORD))
    );
    assert_eq!(one.send("POST", "/logout", &Value::Null).status, 204);
    assert_eq!((one.status("/me"), other.status("/me")), (401, 200));
    // Metrics and health are for whoever watches the server.
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(http::get(scene.web, path).status, 200);
    }
}

#[test]
fn an_open_stream_ends_with_the_login() {
    let scene = scene(|setup| setup);
    let viewer = ["--group", "fleet", "--role", "viewer"];
    scene.daemon.add_user("berta", &viewer, PASSWORD);
    let berta = scene.anybody().login("berta", PASSWORD);
    eventually(secs(20), "positions are there", || {
        berta.status("/positions") == 200
    });
    let mut stream = http::connect(scene.web);
    let request = format!(
        "GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        berta.headers
    );
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let begun = http::read_all(&mut stream, secs(6));
    assert!(begun.starts_with("HTTP/1.1 200 "), "{begun}");
    scene.daemon.must(&["user", "disable", "berta"]);
    http::closed_after(&mut stream, secs(15));
}

#[test]
fn whoever_has_a_cookie_cannot_guess_the_password_with_it() {
    let scene = scene(|setup| setup);
    let anna = scene.anna();
    let path = format!("/users/{}", anna.json("/me")["id"]);
    let guess = json!({"password": "another long one", "current_password": "wrong"});
    let statuses: Vec<u16> = (0..7)
        .map(|_| anna.send("PATCH", &path, &guess).status)
        .collect();
    assert_eq!(statuses[..5], [422; 5]);
    assert!(statuses[5..].contains(&429), "{statuses:?}");
}
