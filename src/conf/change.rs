//! What differs between two confs: the ports that a reload starts, ends and restarts, and the keys that only a restart takes up.

use super::{Accept, Conf, Listen, PortConf};

/// The ports that differ between a running conf and a new one, by what they listen on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PortChanges {
    /// In the new conf only.
    pub added: Vec<PortConf>,
    /// In the running conf only.
    pub removed: Vec<Listen>,
    /// In both, with another protocol, device, networks, segment size or effective `accept`; as the new conf has them.
    pub changed: Vec<PortConf>,
}

impl Conf {
    /// Who is let in on `port`: what the port says, else `[devices] accept`.
    pub fn accept_on(&self, port: &PortConf) -> Accept {
        port.accept.unwrap_or(self.devices.accept)
    }

    /// What becomes of the ports when `new` takes the place of this conf. Order as in the files.
    pub fn port_changes(&self, new: &Conf) -> PortChanges {
        let mut changes = PortChanges::default();
        for port in &new.ports {
            match self.ports.iter().find(|old| old.listen == port.listen) {
                None => changes.added.push(port.clone()),
                Some(old) => {
                    let same = PortConf {
                        accept: port.accept,
                        ..old.clone()
                    } == *port
                        && self.accept_on(old) == new.accept_on(port);
                    if !same {
                        changes.changed.push(port.clone());
                    }
                }
            }
        }
        for old in &self.ports {
            if !new.ports.iter().any(|port| port.listen == old.listen) {
                changes.removed.push(old.listen.clone());
            }
        }
        changes
    }

    /// The keys that differ in `new` and are read only at start: all but the ports, who is let in, and the web.
    pub fn needs_restart(&self, new: &Conf) -> Vec<&'static str> {
        let differs = [
            ("[database].url", self.database.url != new.database.url),
            (
                "[database].writers",
                self.database.writers != new.database.writers,
            ),
            (
                "[database].batch_records",
                self.database.batch_records != new.database.batch_records,
            ),
            (
                "[spool].directory",
                self.spool.directory != new.spool.directory,
            ),
            (
                "[spool].max_size",
                self.spool.max_size != new.spool.max_size,
            ),
            (
                "[spool].keep_free",
                self.spool.keep_free != new.spool.keep_free,
            ),
            (
                "[devices].max_new_devices",
                self.devices.max_new_devices != new.devices.max_new_devices,
            ),
            (
                "[retention].partition",
                self.retention.partition != new.retention.partition,
            ),
            (
                "[retention].keep",
                self.retention.keep != new.retention.keep,
            ),
            (
                "[control].socket",
                self.control.socket != new.control.socket,
            ),
            (
                "[timeouts].login",
                self.timeouts.login != new.timeouts.login,
            ),
            ("[timeouts].idle", self.timeouts.idle != new.timeouts.idle),
            (
                "[timeouts].packet",
                self.timeouts.packet != new.timeouts.packet,
            ),
            (
                "[timeouts].ack_target",
                self.timeouts.ack_target != new.timeouts.ack_target,
            ),
            (
                "[timeouts].statement",
                self.timeouts.statement != new.timeouts.statement,
            ),
            ("[timeouts].tcp", self.timeouts.tcp != new.timeouts.tcp),
            (
                "[timeouts].silent_after",
                self.timeouts.silent_after != new.timeouts.silent_after,
            ),
            ("[timeouts].stop", self.timeouts.stop != new.timeouts.stop),
            ("[limits].packet", self.limits.packet != new.limits.packet),
            (
                "[limits].receive",
                self.limits.receive != new.limits.receive,
            ),
            ("[limits].queue", self.limits.queue != new.limits.queue),
            (
                "[limits].sessions_per_port",
                self.limits.sessions_per_port != new.limits.sessions_per_port,
            ),
            (
                "[limits].sessions_per_address",
                self.limits.sessions_per_address != new.limits.sessions_per_address,
            ),
            (
                "[limits].logins_per_minute",
                self.limits.logins_per_minute != new.limits.logins_per_minute,
            ),
            (
                "[limits].bytes_per_second",
                self.limits.bytes_per_second != new.limits.bytes_per_second,
            ),
        ];
        differs
            .into_iter()
            .filter_map(|(key, differs)| differs.then_some(key))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn conf(text: &str) -> Conf {
        parse(text, "test.toml").unwrap()
    }

    #[test]
    fn ports_are_told_apart_by_what_they_listen_on() {
        let old = conf("[[port]]\nlisten = \"5100-5102\"\n[[port]]\nlisten = 5027");
        let new = conf(
            "[[port]]\nlisten = \"[::]:5027\"\n[[port]]\nlisten = \"5102-5103\"\nallow = [\"10.0.0.0/8\"]",
        );
        let changes = old.port_changes(&new);
        let listens = |ports: &[PortConf]| -> Vec<Listen> {
            ports.iter().map(|port| port.listen.clone()).collect()
        };
        assert_eq!(listens(&changes.added), [Listen::Any(5103)]);
        assert_eq!(listens(&changes.changed), [Listen::Any(5102)]);
        assert_eq!(changes.removed, [Listen::Any(5100), Listen::Any(5101)]);
        assert_eq!(old.port_changes(&old), PortChanges::default());
    }

    #[test]
    fn a_port_changes_with_the_accept_that_it_inherits() {
        let ports = "[[port]]\nlisten = 1\n[[port]]\nlisten = 2\naccept = \"known\"\n";
        let old = conf(ports);
        let new = conf(&format!("{ports}[devices]\naccept = \"any\""));
        let changes = old.port_changes(&new);
        assert_eq!(changes.changed.len(), 1);
        assert_eq!(changes.changed[0].listen, Listen::Any(1));
        assert!(old.needs_restart(&new).is_empty());
    }

    #[test]
    fn what_a_reload_cannot_change_is_named() {
        let old = conf("[[port]]\nlisten = 1");
        let new = conf("[[port]]\nlisten = 2\n[database]\nwriters = 2\n[timeouts]\nidle = \"1 h\"");
        assert_eq!(
            old.needs_restart(&new),
            ["[database].writers", "[timeouts].idle"]
        );
    }
}
