//! Tokens of programs: made, listed, taken away.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::super::{WrongUsage, database, text};
use super::find;
use crate::secret;
use crate::store::audit::{self, Who};
use crate::store::session::{self, ApiToken};

pub(super) fn add(
    path: &Path,
    name: &str,
    purpose: &str,
    may_write: bool,
    expires: Option<Duration>,
) -> anyhow::Result<()> {
    let expires_at = match expires {
        Some(after) => Some(SystemTime::now().checked_add(after).ok_or_else(|| {
            WrongUsage("user token: --expires is beyond any calendar".to_owned())
        })?),
        None => None,
    };
    let mut client = database::connect(path)?;
    let user = find::user(&mut client, name)?;
    let made = secret::new_api_token();
    let mut transaction = client.transaction()?;
    let id = session::add_token(
        &mut transaction,
        user.id,
        purpose,
        &made.digest,
        may_write,
        expires_at,
    )?;
    let what = json!({"user": user.name, "token": id, "name": purpose, "may_write": may_write});
    audit::note(&mut transaction, &Who::command_line(), "token_added", &what)?;
    transaction.commit()?;
    eprintln!(
        "Token {id} of {}, for {}. It is shown this once:",
        text::printable(&user.name),
        if may_write {
            "reading and changing"
        } else {
            "reading"
        }
    );
    writeln!(io::stdout(), "{}", made.text)?;
    Ok(())
}

pub(super) fn list(path: &Path, name: Option<&str>, as_json: bool) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    let user_id = match name {
        Some(name) => Some(find::user(&mut client, name)?.id),
        None => None,
    };
    let tokens = session::tokens(&mut client, user_id)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let now = SystemTime::now();
    let mut table = text::Table::new(["TOKEN", "USER", "FOR", "MAY", "STATE", "LAST USED"]);
    for token in &tokens {
        if as_json {
            writeln!(out, "{}", json_of(token))?;
            continue;
        }
        let last = token.last_used_at.map(|at| text::ago(at, now));
        table.row(&[
            token.id.to_string(),
            token.user.clone(),
            token.name.clone(),
            if token.may_write { "write" } else { "read" }.to_owned(),
            state(token, now).to_owned(),
            last.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    if !as_json {
        table.write(&mut out, "")?;
    }
    out.flush()?;
    Ok(())
}

fn json_of(token: &ApiToken) -> serde_json::Value {
    json!({
        "id": token.id,
        "user": token.user,
        "name": token.name,
        "scope": if token.may_write { "write" } else { "read" },
        "created_at": text::time(token.created_at),
        "last_used_at": token.last_used_at.map(text::time),
        "expires_at": token.expires_at.map(text::time),
        "revoked_at": token.revoked_at.map(text::time),
    })
}

fn state(token: &ApiToken, now: SystemTime) -> &'static str {
    if token.revoked_at.is_some() {
        "revoked"
    } else if token.expires_at.is_some_and(|at| at <= now) {
        "expired"
    } else {
        "good"
    }
}

pub(super) fn revoke(path: &Path, ids: &[i32]) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    for id in ids {
        let mut transaction = client.transaction()?;
        let Some((_, name)) = session::revoke_token(&mut transaction, *id, None)? else {
            anyhow::bail!(
                "there is no token {id} that is worth something: `trackport user tokens` lists them"
            );
        };
        let what = json!({"token": id, "name": name});
        audit::note(
            &mut transaction,
            &Who::command_line(),
            "token_revoked",
            &what,
        )?;
        transaction.commit()?;
        writeln!(
            io::stdout(),
            "token {id} ({}) is worth nothing any more",
            text::printable(&name)
        )?;
    }
    Ok(())
}
