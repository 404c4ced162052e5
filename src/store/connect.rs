//! A connection to PostgreSQL in which nothing waits without a deadline.
//!
//! Understands what psql understands: URLs and key-value strings, PGHOST and its kin, password files. The
//! client library has no deadline between connecting and its first answer, so a server that accepts and then says nothing
//! (frozen, half dead behind a balancer) would hold the thread for ever: each host is therefore asked for one
//! byte with plain sockets first. Names are resolved by the system's resolver, whose own time-out bounds it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postgres::config::{Host, SslMode};
use postgres::{Client, Config, NoTls};
use socket2::{Domain, SockAddr, Socket, Type};

use super::error::StoreError;
use super::password;
use crate::conf;

/// The request for TLS: what a PostgreSQL server answers with a single byte, `S` or `N`, before anything else.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];

const DEFAULT_PORT: u16 = 5432;

/// One server to try, with all that the client needs to reach it.
struct Target {
    host: Host,
    address: Option<IpAddr>,
    port: u16,
}

/// Connects to `database` as `application_name`, which begins with `trackport`, and prepares the session: `synchronous_commit = on`, time-outs, UTC,
/// `search_path = trackport`, `jit = off`.
///
/// Blocks for a few `timeouts.tcp` per host.
///
/// # Errors
/// When the URL is wrong, no server answers in time, or the one that answers refuses.
pub fn connect(
    database: &conf::Database,
    timeouts: &conf::Timeouts,
    application_name: &str,
) -> Result<Client, StoreError> {
    connect_with(database, timeouts, application_name, password::find)
}

/// The same to a database that is somebody else's: the password of ours, which our own places hold, is not shown to its server.
///
/// # Errors
/// As `connect`.
pub fn connect_elsewhere(
    database: &conf::Database,
    timeouts: &conf::Timeouts,
    application_name: &str,
) -> Result<Client, StoreError> {
    let find: Find = |env, whom| Ok(password::find_as_psql(env, whom));
    connect_with(database, timeouts, application_name, find)
}

/// Looks a password up.
type Find =
    fn(&dyn Fn(&str) -> Option<PathBuf>, &password::Whom) -> Result<Option<Vec<u8>>, StoreError>;

fn connect_with(
    database: &conf::Database,
    timeouts: &conf::Timeouts,
    application_name: &str,
    find: Find,
) -> Result<Client, StoreError> {
    let config = config(&database.url, &|name| std::env::var(name).ok())?;
    let mut refused = None;
    for target in targets(&config) {
        match connect_to(&config, &target, timeouts, application_name, find) {
            Ok(client) => return Ok(client),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.expect("a config has one host at least"))
}

fn connect_to(
    config: &Config,
    target: &Target,
    timeouts: &conf::Timeouts,
    application_name: &str,
    find: Find,
) -> Result<Client, StoreError> {
    let address = probe(target, timeouts.tcp).map_err(|error| StoreError::Unreachable {
        place: place(target),
        reason: error.to_string(),
    })?;
    let mut one = single(config, target, address, find)?;
    one.application_name(application_name)
        .connect_timeout(timeouts.tcp)
        .tcp_user_timeout(timeouts.tcp)
        .keepalives(true)
        .keepalives_idle(timeouts.tcp)
        .keepalives_interval((timeouts.tcp / 3).max(Duration::from_secs(1)))
        .keepalives_retries(3)
        .notice_callback(|notice| {
            let level = match notice.severity() {
                "WARNING" => log::Level::Warn,
                _ => log::Level::Debug,
            };
            log::log!(level, "PostgreSQL says: {}", notice.message());
        });
    let mut client = one.connect(NoTls)?;
    // A session that leaves a transaction open holds locks and old rows; it is ended soon after
    // the longest pause that this program makes between two statements.
    let idle = timeouts.statement + timeouts.tcp;
    // No compiling of statements: what reads over all partitions has thousands of expressions, and runs for less time than LLVM would need
    // for them.
    client.batch_execute(&format!(
        "SET synchronous_commit = on;
         SET statement_timeout = {};
         SET idle_in_transaction_session_timeout = {};
         SET TimeZone = 'UTC';
         SET client_min_messages = warning;
         SET jit = off;
         SET search_path = trackport, pg_temp",
        timeouts.statement.as_millis(),
        idle.as_millis(),
    ))?;
    Ok(client)
}

/// The oldest server that has what the schema uses: 15, as `server_version_num` counts.
pub const SERVER_VERSION_MIN: i32 = 150_000;

/// What a server says about itself that the promise depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version as it is written: `15.18 (Debian ...)`.
    pub version: String,
    /// Its version as a number: 150018.
    pub version_num: i32,
    /// Committed means on the disk.
    pub fsync: bool,
    /// A page torn by a power loss is mended.
    pub full_page_writes: bool,
    /// It is a standby that takes no writes.
    pub is_standby: bool,
    /// Connections it takes.
    pub max_connections: i32,
}

/// Asks the server for its version and for the settings that an operator may have got wrong.
///
/// # Errors
/// When the server does not answer.
pub fn server_facts(client: &mut Client) -> Result<ServerFacts, StoreError> {
    let row = client.query_one(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::integer,
             current_setting('fsync')::boolean, current_setting('full_page_writes')::boolean,
             pg_is_in_recovery(), current_setting('max_connections')::integer",
        &[],
    )?;
    Ok(ServerFacts {
        version: row.get(0),
        version_num: row.get(1),
        fsync: row.get(2),
        full_page_writes: row.get(3),
        is_standby: row.get(4),
        max_connections: row.get(5),
    })
}

/// The process id of the server's side of this connection.
///
/// # Errors
/// When the server does not answer.
pub fn backend_pid(client: &mut Client) -> Result<i32, StoreError> {
    Ok(client.query_one("SELECT pg_backend_pid()", &[])?.get(0))
}

/// Ends another backend of this program by its process id and waits until it is gone, `wait` at most; true when it is.
///
/// A process id that has meanwhile become somebody else's backend is left alone and counts as gone.
///
/// # Errors
/// When the server does not answer.
pub fn end_backend(client: &mut Client, pid: i32, wait: Duration) -> Result<bool, StoreError> {
    let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    let row = client.query_opt(
        "SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity
         WHERE pid = $1 AND pid <> pg_backend_pid() AND usename = current_user
             AND datname = current_database() AND application_name LIKE 'trackport%'",
        &[&pid, &wait_ms],
    )?;
    Ok(row.is_none_or(|row| row.get(0)))
}

/// What `url` means with the defaults that psql would use.
fn config(url: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, StoreError> {
    let mut config: Config = url
        .parse()
        .map_err(|error: postgres::Error| StoreError::Url(super::error::describe(&error)))?;
    if config.get_ssl_mode() == SslMode::Require {
        return Err(StoreError::Url(
            "sslmode=require: trackport speaks to PostgreSQL without TLS; use a socket, a private network or a tunnel"
                .to_owned(),
        ));
    }
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        let host = env("PGHOST").filter(|host| !host.is_empty());
        config.host(&host.unwrap_or_else(default_socket_directory));
    }
    if config.get_ports().is_empty()
        && let Some(port) = env("PGPORT")
    {
        config.port(port.parse().map_err(|_| {
            StoreError::Url(format!("PGPORT is {port:?}: a port number is needed"))
        })?);
    }
    if config.get_user().is_none()
        && let Some(user) = env("PGUSER")
    {
        config.user(&user);
    }
    if config.get_dbname().is_none()
        && let Some(name) = env("PGDATABASE")
    {
        config.dbname(&name);
    }
    Ok(config)
}

/// Where the server of the distribution has its socket.
fn default_socket_directory() -> String {
    ["/run/postgresql", "/var/run/postgresql", "/tmp"]
        .into_iter()
        .find(|directory| {
            Path::new(directory)
                .join(format!(".s.PGSQL.{DEFAULT_PORT}"))
                .exists()
        })
        .unwrap_or("/run/postgresql")
        .to_owned()
}

fn targets(config: &Config) -> Vec<Target> {
    let (hosts, addresses, ports) = (
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
    );
    (0..hosts.len().max(addresses.len()))
        .map(|place| {
            let address = addresses.get(place).copied();
            Target {
                host: hosts.get(place).cloned().unwrap_or_else(|| {
                    Host::Tcp(address.map_or_else(String::new, |one| one.to_string()))
                }),
                address,
                port: ports
                    .get(place)
                    .or(ports.first())
                    .copied()
                    .unwrap_or(DEFAULT_PORT),
            }
        })
        .collect()
}

/// Where a PostgreSQL of the conf is.
#[derive(Debug)]
pub enum Server {
    /// At a socket of this machine.
    Socket(PathBuf),
    /// Elsewhere, by name and port, and the addresses that the name has.
    Network(String, io::Result<Vec<SocketAddr>>),
}

/// The servers that `url` means. Blocks while their names are looked up; connects to none.
///
/// # Errors
/// When the URL cannot be understood.
pub fn servers(url: &str) -> Result<Vec<Server>, StoreError> {
    let config = config(url, &|key| std::env::var(key).ok())?;
    let server = |target: Target| match &target.host {
        Host::Unix(directory) => Server::Socket(socket_path(directory, target.port)),
        Host::Tcp(name) => Server::Network(place(&target), addresses(&target, name)),
    };
    Ok(targets(&config).into_iter().map(server).collect())
}

fn addresses(target: &Target, name: &str) -> io::Result<Vec<SocketAddr>> {
    match target.address {
        Some(address) => Ok(vec![SocketAddr::new(address, target.port)]),
        None => Ok((name, target.port).to_socket_addrs()?.collect()),
    }
}

fn socket_path(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

fn place(target: &Target) -> String {
    match &target.host {
        Host::Tcp(name) => format!("{name}:{}", target.port),
        Host::Unix(directory) => socket_path(directory, target.port).display().to_string(),
    }
}

/// Asks the server for one byte; returns the address that answered, where there is one.
fn probe(target: &Target, within: Duration) -> io::Result<Option<IpAddr>> {
    match &target.host {
        Host::Unix(directory) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // Bounds the connect as well: a frozen server's full backlog blocks it otherwise.
            socket.set_write_timeout(Some(within))?;
            socket.connect(&SockAddr::unix(socket_path(directory, target.port))?)?;
            socket.set_read_timeout(Some(within))?;
            ask(&socket, within)?;
            Ok(None)
        }
        Host::Tcp(name) => {
            let mut refused = io::Error::other("the name has no address");
            for address in addresses(target, name)? {
                match probe_tcp(address, within) {
                    Ok(()) => return Ok(Some(address.ip())),
                    Err(error) => refused = error,
                }
            }
            Err(refused)
        }
    }
}

fn probe_tcp(address: SocketAddr, within: Duration) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&address, within)?;
    stream.set_write_timeout(Some(within))?;
    stream.set_read_timeout(Some(within))?;
    ask(&stream, within)
}

fn ask<S>(stream: &S, within: Duration) -> io::Result<()>
where
    for<'a> &'a S: Read + Write,
{
    let begun = Instant::now();
    let mut stream = stream;
    stream.write_all(&SSL_REQUEST)?;
    let mut answer = [0];
    match stream.read_exact(&mut answer) {
        Ok(()) if matches!(answer[0], b'S' | b'N') => Ok(()),
        // `E` begins an error message: a server all the same, which will say more to the client.
        Ok(()) if answer[0] == b'E' => Ok(()),
        Ok(()) => Err(io::Error::other(format!(
            "what answers there is no PostgreSQL (first byte {:#04x})",
            answer[0]
        ))),
        Err(_) if begun.elapsed() >= within => Err(io::Error::other(format!(
            "the server accepts connections but said nothing for {} s",
            within.as_secs()
        ))),
        Err(error) => Err(error),
    }
}

/// `config` with `target` as its only host, at the address that answered, and with the password.
fn single(
    config: &Config,
    target: &Target,
    address: Option<IpAddr>,
    find: Find,
) -> Result<Config, StoreError> {
    let mut one = Config::new();
    match &target.host {
        Host::Tcp(name) => one.host(name),
        Host::Unix(directory) => one.host_path(directory),
    };
    if let Some(address) = address {
        one.hostaddr(address);
    }
    one.port(target.port)
        .ssl_mode(config.get_ssl_mode())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding());
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(name) = config.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    let found = match config.get_password() {
        Some(password) => Some(password.to_vec()),
        None => find(
            &|name| std::env::var_os(name).map(PathBuf::from),
            &password::Whom {
                host: match &target.host {
                    Host::Tcp(name) => name.clone(),
                    Host::Unix(_) => "localhost".to_owned(),
                },
                port: target.port,
                database: config.get_dbname().or(config.get_user()).map(str::to_owned),
                user: config
                    .get_user()
                    .map(str::to_owned)
                    .or_else(|| std::env::var("USER").ok()),
            },
        )?,
    };
    if let Some(password) = found {
        one.password(password);
    }
    Ok(one)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn the_forms_of_libpq_are_understood() {
        let config = config(
            "postgresql:///trackport?host=/run/elsewhere&port=5433",
            &nothing,
        )
        .unwrap();
        let targets = targets(&config);
        assert_eq!(place(&targets[0]), "/run/elsewhere/.s.PGSQL.5433");
        assert_eq!(config.get_dbname(), Some("trackport"));
        let config = super::config("host=db1,db2 port=5440 user=u", &nothing).unwrap();
        let places: Vec<String> = super::targets(&config).iter().map(place).collect();
        assert_eq!(places, ["db1:5440", "db2:5440"]);
    }

    #[test]
    fn the_environment_fills_what_the_url_leaves_out() {
        let env = |name: &str| {
            match name {
                "PGHOST" => Some("db9"),
                "PGPORT" => Some("6000"),
                "PGUSER" => Some("anna"),
                _ => None,
            }
            .map(str::to_owned)
        };
        let config = config("postgresql:///x", &env).unwrap();
        assert_eq!(place(&targets(&config)[0]), "db9:6000");
        assert_eq!(config.get_user(), Some("anna"));
        let config = super::config("postgresql://bert@db1:7000/x", &env).unwrap();
        assert_eq!(place(&targets(&config)[0]), "db1:7000");
        assert_eq!(config.get_user(), Some("bert"));
    }

    #[test]
    fn what_cannot_be_a_url_says_so() {
        let error = config("postgresql://x/y?colour=blue", &nothing).unwrap_err();
        assert!(error.to_string().contains("colour"), "{error}");
        assert!(config("postgresql://x/y?sslmode=require", &nothing).is_err());
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let within = Duration::from_millis(200);
        let error = probe_tcp(silent.local_addr().unwrap(), within).unwrap_err();
        assert!(error.to_string().contains("said nothing"), "{error}");
    }
}
