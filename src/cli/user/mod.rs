//! `trackport user`: who may use the dashboard and its API, and what they may do there.
//!
//! Works on the database alone; a running server follows within seconds. `prompt.rs` asks for passwords, `token.rs` is about tokens,
//! `find.rs` about names. Every change is noted in `audit` under the name that the system has for whoever typed it.

mod find;
mod prompt;
mod token;

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use postgres::Client;
use serde_json::json;

use super::{database, text};
use crate::conf;
use crate::secret;
use crate::store::audit::{self, Who};
use crate::store::user::{self, GroupRole, User, UserChange};

/// What to do with users.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Add somebody who may log in
    ///
    /// Asks for the password. Without --admin or a role in a group nothing is shown to them.
    #[command(after_help = "\
Examples:
  trackport user add anna --admin
  trackport user add berger --group fleet --role viewer
  trackport user add grafana --group fleet --role viewer --no-password")]
    Add {
        /// What they log in as; upper and lower case make no difference
        name: String,
        /// May see and change everything, other users included
        #[arg(long)]
        admin: bool,
        /// A group, by name or number
        #[arg(long, requires = "role")]
        group: Option<String>,
        /// What they may do in that group
        #[arg(long, value_enum, requires = "group")]
        role: Option<Role>,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
        /// No password: only tokens work
        #[arg(long, conflicts_with = "password_stdin")]
        no_password: bool,
    },
    /// Give a user another password; whoever is logged in as it has to log in again
    Passwd {
        /// Whose
        name: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List users, with what they may do where
    List {
        /// One JSON object per line instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Remove users with their logins and tokens; what they did stays in the table `audit`
    Remove {
        /// Who
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Lock users out: their logins end, their tokens stop working
    Disable {
        /// Who
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Let users in again
    Enable {
        /// Who
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Give a user a role in a group, or everything
    #[command(after_help = "\
Examples:
  trackport user grant berger --group fleet --role manager
  trackport user grant anna --admin")]
    Grant {
        /// Who
        name: String,
        /// May see and change everything, other users included
        #[arg(long, conflicts_with = "group")]
        admin: bool,
        /// A group, by name or number
        #[arg(long, requires = "role", required_unless_present = "admin")]
        group: Option<String>,
        /// What they may do in that group
        #[arg(long, value_enum, requires = "group")]
        role: Option<Role>,
    },
    /// Take a role in a group away from a user, or the right to everything
    Revoke {
        /// Who
        name: String,
        /// They may do only what their roles say
        #[arg(long, conflicts_with = "group")]
        admin: bool,
        /// A group, by name or number
        #[arg(long, required_unless_present = "admin")]
        group: Option<String>,
    },
    /// Make a token, with which a program may do what a user may; it is shown once
    #[command(after_help = "\
Examples:
  trackport user token grafana \"dashboard in the hall\"
  trackport user token anna import --write --expires '90 days'

  curl -H \"Authorization: Bearer $TOKEN\" https://tracking.example.com/api/v1/assets")]
    Token {
        /// Whose
        name: String,
        /// What it is for
        purpose: String,
        /// It may change what the user may change; without this it only reads
        #[arg(long)]
        write: bool,
        /// After how long it is worth nothing
        #[arg(long, value_name = "TIME", value_parser = conf::parse_duration)]
        expires: Option<Duration>,
    },
    /// List tokens; what they are is known to their owners alone
    Tokens {
        /// Whose; everybody's without it
        name: Option<String>,
        /// One JSON object per line instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Make tokens worthless
    RevokeToken {
        /// Their numbers, as `tokens` lists them
        #[arg(required = true)]
        ids: Vec<i32>,
    },
}

/// What somebody may do in a group; each may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Sees and exports.
    Viewer,
    /// Changes assets and devices.
    Manager,
    /// Says who else belongs to the group.
    Admin,
}

impl From<Role> for GroupRole {
    fn from(role: Role) -> GroupRole {
        match role {
            Role::Viewer => GroupRole::Viewer,
            Role::Manager => GroupRole::Manager,
            Role::Admin => GroupRole::Admin,
        }
    }
}

/// Does what `command` says in the database of the conf file at `path`.
///
/// # Errors
/// The mistakes of the conf file; a database that cannot be used; what cannot be done, and why.
pub fn run(command: &Command, path: &Path) -> anyhow::Result<()> {
    match command {
        Command::Add {
            name,
            admin,
            group,
            role,
            password_stdin,
            no_password,
        } => {
            let role = group.as_deref().zip(role.map(GroupRole::from));
            let how = if *no_password {
                Password::None
            } else {
                Password::Asked {
                    from_stdin: *password_stdin,
                }
            };
            add(path, name, *admin, role, how)
        }
        Command::Passwd {
            name,
            password_stdin,
        } => passwd(path, name, *password_stdin),
        Command::List { json } => list(path, *json),
        Command::Remove { names } => each(path, names, remove),
        Command::Disable { names } => {
            each(path, names, |client, user| set_disabled(client, user, true))
        }
        Command::Enable { names } => each(path, names, |client, user| {
            set_disabled(client, user, false)
        }),
        Command::Grant {
            name, group, role, ..
        } => {
            let role = group.as_deref().zip(role.map(GroupRole::from));
            each(path, std::slice::from_ref(name), |client, user| {
                grant(client, user, role)
            })
        }
        Command::Revoke { name, group, .. } => {
            each(path, std::slice::from_ref(name), |client, user| {
                revoke(client, user, group.as_deref())
            })
        }
        Command::Token {
            name,
            purpose,
            write,
            expires,
        } => token::add(path, name, purpose, *write, *expires),
        Command::Tokens { name, json } => token::list(path, name.as_deref(), *json),
        Command::RevokeToken { ids } => token::revoke(path, ids),
    }
}

/// Where a password comes from.
#[derive(Clone, Copy)]
enum Password {
    None,
    Asked { from_stdin: bool },
}

fn add(
    path: &Path,
    name: &str,
    is_admin: bool,
    role: Option<(&str, GroupRole)>,
    password: Password,
) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    // Nobody shall type a password for nothing.
    if user::by_name(&mut client, name)?.is_some() {
        anyhow::bail!(
            "there is a user {name} already; `trackport user passwd` changes the password"
        );
    }
    let role = match role {
        Some((group, role)) => Some((find::group(&mut client, group)?, role)),
        None => None,
    };
    let hash = match password {
        Password::None => None,
        Password::Asked { from_stdin } => Some(secret::hash_password(&prompt::new_password(
            name, from_stdin,
        )?)),
    };
    let mut transaction = client.transaction()?;
    let id = user::add(&mut transaction, name, is_admin, hash.as_deref())?;
    let mut what = json!({"user": name, "is_admin": is_admin, "has_password": hash.is_some()});
    if let Some(((group_id, group), role)) = &role {
        user::grant(&mut transaction, id, *group_id, *role)?;
        what["group"] = group.as_str().into();
        what["role"] = role.as_str().into();
    }
    audit::note(&mut transaction, &Who::command_line(), "user_added", &what)?;
    transaction.commit()?;
    let may = match role {
        _ if is_admin => "may see and change everything".to_owned(),
        Some(((_, group), role)) => format!("is {role} of {}", text::printable(&group)),
        None => "sees nothing yet: `trackport user grant` gives roles".to_owned(),
    };
    writeln!(io::stdout(), "{} is added and {may}", text::printable(name))?;
    Ok(())
}

fn passwd(path: &Path, name: &str, from_stdin: bool) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    let user = find::user(&mut client, name)?;
    let hash = secret::hash_password(&prompt::new_password(&user.name, from_stdin)?);
    let change = UserChange {
        password: Some(Some(hash)),
        ..UserChange::default()
    };
    let mut transaction = client.transaction()?;
    user::change(&mut transaction, user.id, &change)?;
    let what = json!({"user": user.name});
    audit::note(
        &mut transaction,
        &Who::command_line(),
        "password_changed",
        &what,
    )?;
    transaction.commit()?;
    writeln!(
        io::stdout(),
        "{} has another password; logins with the old one are over",
        text::printable(&user.name)
    )?;
    Ok(())
}

/// Does the same to each user, in a transaction of its own; all must be there before anything is done.
fn each(
    path: &Path,
    names: &[String],
    mut change: impl FnMut(&mut Client, &User) -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    let users: Vec<User> = names
        .iter()
        .map(|name| find::user(&mut client, name))
        .collect::<anyhow::Result<_>>()?;
    for user in &users {
        let done = change(&mut client, user)?;
        writeln!(io::stdout(), "{} {done}", text::printable(&user.name))?;
    }
    Ok(())
}

fn remove(client: &mut Client, user: &User) -> anyhow::Result<String> {
    let mut transaction = client.transaction()?;
    user::remove(&mut transaction, user.id)?;
    let what = json!({"user": user.name});
    audit::note(
        &mut transaction,
        &Who::command_line(),
        "user_removed",
        &what,
    )?;
    transaction.commit()?;
    Ok("is removed".to_owned())
}

fn set_disabled(client: &mut Client, user: &User, disabled: bool) -> anyhow::Result<String> {
    let change = UserChange {
        disabled: Some(disabled),
        ..UserChange::default()
    };
    changed(client, user, &change, &json!({"disabled": disabled}))?;
    Ok(if disabled {
        "is locked out".to_owned()
    } else {
        "may log in again".to_owned()
    })
}

fn grant(
    client: &mut Client,
    user: &User,
    role: Option<(&str, GroupRole)>,
) -> anyhow::Result<String> {
    let Some((group, role)) = role else {
        let change = UserChange {
            is_admin: Some(true),
            ..UserChange::default()
        };
        changed(client, user, &change, &json!({"is_admin": true}))?;
        return Ok("may see and change everything".to_owned());
    };
    let (group_id, group) = find::group(client, group)?;
    let mut transaction = client.transaction()?;
    user::grant(&mut transaction, user.id, group_id, role)?;
    let what = json!({"user": user.name, "group": group, "role": role.as_str()});
    audit::note(
        &mut transaction,
        &Who::command_line(),
        "role_granted",
        &what,
    )?;
    transaction.commit()?;
    Ok(format!("is {role} of {}", text::printable(&group)))
}

fn revoke(client: &mut Client, user: &User, group: Option<&str>) -> anyhow::Result<String> {
    let Some(group) = group else {
        let change = UserChange {
            is_admin: Some(false),
            ..UserChange::default()
        };
        changed(client, user, &change, &json!({"is_admin": false}))?;
        return Ok("may do what their roles say".to_owned());
    };
    let (group_id, group) = find::group(client, group)?;
    let mut transaction = client.transaction()?;
    if !user::revoke(&mut transaction, user.id, group_id)? {
        anyhow::bail!("{} has no role in {group}", user.name);
    }
    let what = json!({"user": user.name, "group": group});
    audit::note(
        &mut transaction,
        &Who::command_line(),
        "role_revoked",
        &what,
    )?;
    transaction.commit()?;
    Ok(format!(
        "has no role in {} any more",
        text::printable(&group)
    ))
}

/// Changes a user and notes it.
fn changed(
    client: &mut Client,
    user: &User,
    change: &UserChange,
    to: &serde_json::Value,
) -> anyhow::Result<()> {
    let mut transaction = client.transaction()?;
    user::change(&mut transaction, user.id, change)?;
    let what = json!({"user": user.name, "to": to});
    audit::note(
        &mut transaction,
        &Who::command_line(),
        "user_changed",
        &what,
    )?;
    transaction.commit()?;
    Ok(())
}

fn list(path: &Path, as_json: bool) -> anyhow::Result<()> {
    let users = user::list(&mut database::connect(path)?)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if as_json {
        for user in &users {
            writeln!(out, "{}", user_json(user))?;
        }
        out.flush()?;
        return Ok(());
    }
    let mut table = text::Table::new(["USER", "STATE", "MAY", "LAST LOGIN", "LOGINS"]);
    let now = SystemTime::now();
    for user in &users {
        let state = match (user.disabled_at, user.has_password) {
            (Some(_), _) => "disabled",
            (None, true) => "active",
            (None, false) => "tokens only",
        };
        let may = if user.is_admin {
            "everything".to_owned()
        } else {
            let roles = user.groups.iter();
            let roles: Vec<String> = roles
                .map(|one| format!("{} of {}", one.role, one.group))
                .collect();
            roles.join(", ")
        };
        let last = user.last_login_at.map(|at| text::ago(at, now));
        table.row(&[
            user.name.clone(),
            state.to_owned(),
            if may.is_empty() { "-".to_owned() } else { may },
            last.unwrap_or_else(|| "-".to_owned()),
            user.n_sessions.to_string(),
        ]);
    }
    if table.is_empty() {
        eprintln!("no users: `trackport user add NAME --admin` makes the first one");
    } else {
        table.write(&mut out, "")?;
    }
    out.flush()?;
    Ok(())
}

fn user_json(user: &User) -> serde_json::Value {
    let groups: Vec<_> = user
        .groups
        .iter()
        .map(|one| json!({"id": one.group_id, "name": one.group, "role": one.role.as_str()}))
        .collect();
    json!({
        "id": user.id,
        "name": user.name,
        "is_admin": user.is_admin,
        "has_password": user.has_password,
        "disabled_at": user.disabled_at.map(text::time),
        "created_at": text::time(user.created_at),
        "last_login_at": user.last_login_at.map(text::time),
        "sessions": user.n_sessions,
        "groups": groups,
    })
}
